"""The command `warmline train fpemf`."""

from __future__ import annotations

import typer
from rich.console import Console

from ..loop.command import add_trainer, need_libraries, quiet_libraries
from .settings import FpemfSettings


def register(train: typer.Typer) -> None:
    """Add `fpemf`."""
    add_trainer(train, "fpemf", FpemfSettings, run)


def run(settings: FpemfSettings, console: Console) -> None:
    """Make candidates, have them judged, train, and show the metrics."""
    need_libraries()
    quiet_libraries()
    from ..loop.results import show_speaker
    from .train import train_fpemf

    show_speaker(train_fpemf(settings, console=console), console)
