"""The command `warmline train fpemf`."""

from __future__ import annotations

import typer
from rich.console import Console

from .fpemf_settings import FpemfSettings
from .sft_command import need_libraries
from .train_command import add_trainer, quiet_libraries


def register(train: typer.Typer) -> None:
    """Add `fpemf`."""
    add_trainer(
        train,
        "fpemf",
        FpemfSettings,
        run,
        "Fine-tune a supporter to prefer its helpful candidates (000 §4.2); resumes by itself.",
    )


def run(settings: FpemfSettings, console: Console) -> None:
    """Make candidates, have them judged, train, and tell how it went."""
    need_libraries()
    quiet_libraries()
    from .fpemf import train_fpemf
    from .runs import tell_supporter

    tell_supporter(settings, train_fpemf(settings, console=console), console)
