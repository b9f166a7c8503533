"""The command `warmline candidates`."""

from __future__ import annotations

import shlex

import typer
from rich.console import Console

from ..loop.command import add_asking, need_libraries, quiet_libraries
from .settings import CandidateRunSettings


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_asking(app, "candidates", CandidateRunSettings, run)


def run(settings: CandidateRunSettings, console: Console) -> None:
    """Search, have judged, and show the rates."""
    need_libraries()
    quiet_libraries()
    from .candidates import make_candidates

    make_candidates(settings, console=console)
    if settings.feedback and not settings.ratings and settings.part is None:
        words = ["warmline", "helpful", f"{settings.out}/candidates"]
        words += [word for name in settings.dimensions for word in ("--dimensions", name)]
        console.print(f"rates with intervals: {shlex.join(words)}", soft_wrap=True)
