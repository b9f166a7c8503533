"""The command `warmline evolve`."""

from __future__ import annotations

import typer
from rich.console import Console

from ..loop.command import add_trainer, need_libraries, quiet_libraries
from .settings import EvolveSettings


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_trainer(app, "evolve", EvolveSettings, run)


def run(settings: EvolveSettings, console: Console) -> None:
    """Run all rounds and show the tables."""
    need_libraries()
    quiet_libraries()
    from .evolve import evolve
    from .tables import PAGE_NAME

    result = evolve(settings, console=console)
    page = (result.folder / PAGE_NAME).read_text("utf-8")
    console.print(page, soft_wrap=True)
    if settings.runs > 1:
        return
    kept = (
        f"kept: {result.kept}"
        if result.kept
        else f"kept: {settings.model}; no round passed the gate"
    )
    console.print(kept, soft_wrap=True)
