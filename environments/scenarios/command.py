"""`warmline types`: the problem types."""

from __future__ import annotations

import typer
from rich.table import Table

from ...core.outside.console import make_console
from .problem_types import problem_types


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(types)


def types() -> None:
    """List the 45 problem types with their categories and published counts."""
    table = Table("problem type", "category", "dialogues in ServeForEmo")
    for kind in problem_types().values():
        table.add_row(kind.name, kind.category, str(kind.count))
    make_console().print(table)
