"""The command `warmline pairs`."""

from __future__ import annotations

import typer
from rich.console import Console

from ..loop.command import add_trainer
from .settings import PairSettings


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_trainer(
        app,
        "pairs",
        PairSettings,
        run,
        "Make preference pairs of conversations (Self-Evolution §2.2.1), at once or in parts on"
        " many machines; resumes automatically.",
    )


def run(settings: PairSettings, console: Console) -> None:
    """Ask, make the pairs, and report how many there are and why others were dropped."""
    from .pairs import preference_pairs

    preference_pairs(settings, console=console)
