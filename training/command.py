"""The command `warmline train` and its sub-commands, one for each trainer.

A trainer's module has `register(train)` and imports nothing heavy when it is loaded; it is named in
`TRAINERS`. Its options are made from the fields of its settings.
"""

from __future__ import annotations

from importlib import import_module

import typer

TRAINERS: tuple[str, ...] = (
    "sft.command",
    "fpemf.command",
    "counselor.command",
    "scorer.command",
    "dpo.command",
)
"""Modules that bring a sub-command."""

train = typer.Typer(help="Train supporters, counselors and scorers.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add `train` with all its sub-commands to the command line."""
    for module in TRAINERS:
        import_module(f".{module}", __package__).register(train)
    app.add_typer(train, name="train")
