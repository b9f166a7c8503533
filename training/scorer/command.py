"""The command `warmline train scorer`."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.table import Table

from ..loop.command import add_trainer, need_libraries, quiet_libraries
from .settings import ScorerSettings

MEASURES = ("accuracy", "majority", "f1", "macro_f1", "ece")


def register(train: typer.Typer) -> None:
    """Add `scorer`."""
    add_trainer(train, "scorer", ScorerSettings, run)


def run(settings: ScorerSettings, console: Console) -> None:
    """Train and show the figures of each dimension."""
    need_libraries()
    quiet_libraries()
    from .train import train_scorer

    for checkpoint in train_scorer(settings, console=console).checkpoints:
        title = f"{settings.out}, seed {checkpoint.seed}: held-out pairs"
        console.print(dimensions_table(title, checkpoint.heads, checkpoint.metrics))
    console.print(
        f"use it: warmline score LOG --model {settings.out}, or as the judge of train fpemf,"
        ' or wrap = [{name = "best_of", scorer = {policy = "scorer", model = …}}]',
        soft_wrap=True,
    )


def dimensions_table(
    title: str, heads: dict[str, tuple[str, ...]], metrics: dict[str, float | None]
) -> Table:
    """A row for each dimension; F1 is of `helpful`."""
    table = Table("dimension", "accuracy", "majority", "F1", "macro-F1", "ECE", title=title)
    for name in heads:
        found = [metrics.get(f"{name}_{measure}") for measure in MEASURES]
        table.add_row(name, *("–" if value is None else f"{value:.3f}" for value in found))
    return table
