"""The command `warmline candidates`."""

from __future__ import annotations

import typer
from rich.console import Console

from ..loop.command import add_trainer, need_libraries, quiet_libraries
from .settings import CandidateRunSettings


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_trainer(
        app,
        "candidates",
        CandidateRunSettings,
        run,
        "Search a model's candidates and have them judged: helpful rates (FPEMF Table 4); resumes"
        " automatically.",
    )


def run(settings: CandidateRunSettings, console: Console) -> None:
    """Search, have judged, and show the rates."""
    need_libraries()
    quiet_libraries()
    from .candidates import make_candidates

    make_candidates(settings, console=console)
    if settings.feedback and not settings.ratings:
        folder = f"{settings.out}/candidates"
        console.print(f"rates with intervals: warmline helpful {folder} --leave-out gold")
