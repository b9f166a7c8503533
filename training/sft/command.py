"""The command `warmline train sft`."""

from __future__ import annotations

from importlib.util import find_spec

import typer
from rich.console import Console

from ...core.errors import MissingExtra
from ..loop.command import add_trainer, quiet_libraries
from ..loop.settings import SftSettings


def register(train: typer.Typer) -> None:
    """Add `sft`."""
    add_trainer(
        train, "sft", SftSettings, run, "Fine-tune a supporter on conversations; resumes by itself."
    )


def need_libraries() -> None:
    """Refuse early, and by name, where the libraries of training are missing.

    Raises:
        MissingExtra: they are.
    """
    if any(find_spec(name) is None for name in ("torch", "transformers", "peft", "accelerate")):
        raise MissingExtra("training", extra="train")


def run(settings: SftSettings, console: Console) -> None:
    """Train and tell how good it became."""
    need_libraries()
    quiet_libraries()
    from ..loop.results import tell_supporter
    from .train import train_sft

    tell_supporter(settings, train_sft(settings, console=console), console)
