"""`warmline doctor`: what works on this machine."""

# typer reads these annotations when the command is registered, so they are not postponed
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from ..core.outside.console import make_console
from .doctor import Finding, examine


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    base_url: Annotated[
        list[str] | None,
        typer.Option(
            help="Also try this OpenAI-compatible server; may be given several times, or as @FILE with"
            " one a line."
        ),
    ] = None,
) -> None:
    """Report what is installed, which engines work here, and what to install for the others."""
    console = make_console()
    findings = examine(base_url[0] if base_url and len(base_url) == 1 else base_url)
    marks = {True: ("yes", "green"), False: ("no", "yellow"), None: ("-", "dim")}
    table = Table("what", "works", "detail")
    for finding in findings:
        mark, style = marks[finding.works]
        table.add_row(finding.what, Text(mark, style=style), Text(_detail(finding)))
    console.print(table)


def _detail(finding: Finding) -> str:
    return f"{finding.detail} -> {finding.remedy}" if finding.remedy else finding.detail
