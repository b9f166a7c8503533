"""The command `warmline evolve`."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console

from ..loop.command import add_trainer, need_libraries, quiet_libraries
from .settings import EvolveSettings


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_trainer(
        app,
        "evolve",
        EvolveSettings,
        run,
        "Let a supporter learn from its own refined replies, in rounds (Self-Evolution); resumes by itself.",
    )


def run(settings: EvolveSettings, console: Console) -> None:
    """Run all rounds and show the tables."""
    need_libraries()
    quiet_libraries()
    from .evolve import checkpoint_of, evolve
    from .tables import PAGE_NAME

    evolve(settings, console=console)
    out = Path(settings.out or ".")
    console.print((out / PAGE_NAME).read_text("utf-8"), soft_wrap=True)
    kept = checkpoint_of(out)
    told = f"kept: {kept}" if kept else f"every round was rolled back; {settings.model} stays"
    console.print(told, soft_wrap=True)
