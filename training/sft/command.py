"""The command `warmline train sft`."""

from __future__ import annotations

import typer
from rich.console import Console

from ..loop.command import add_trainer, need_libraries, quiet_libraries
from .settings import SftSettings


def register(train: typer.Typer) -> None:
    """Add `sft`."""
    add_trainer(train, "sft", SftSettings, run)


def run(settings: SftSettings, console: Console) -> None:
    """Train and show the metrics."""
    need_libraries()
    quiet_libraries()
    from ..loop.results import show_speaker
    from .train import train_sft

    show_speaker(train_sft(settings, console=console), console, list(settings.seat_shares))
