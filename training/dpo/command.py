"""The command `warmline train dpo`."""

from __future__ import annotations

import typer
from rich.console import Console

from ..loop.command import add_trainer, need_libraries, quiet_libraries
from .settings import DpoSettings


def register(train: typer.Typer) -> None:
    """Add `dpo`."""
    add_trainer(train, "dpo", DpoSettings, run)


def run(settings: DpoSettings, console: Console) -> None:
    """Make pairs where none are given, train, and show the metrics."""
    need_libraries()
    quiet_libraries()
    from ..loop.results import show_speaker
    from .train import train_dpo

    show_speaker(train_dpo(settings, console=console), console)
