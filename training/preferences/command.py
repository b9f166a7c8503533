"""The command `warmline pairs`."""

from __future__ import annotations

import typer
from rich.console import Console

from ..loop.command import add_asking
from .settings import PairSettings


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_asking(app, "pairs", PairSettings, run)


def run(settings: PairSettings, console: Console) -> None:
    """Ask, make the pairs, and report how many there are and why others were dropped."""
    from .pairs import preference_pairs

    preference_pairs(settings, console=console)
