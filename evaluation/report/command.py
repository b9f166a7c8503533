"""`warmline report`: one self-contained page about one or several runs."""

# typer reads these annotations when the module is loaded, so they are not postponed
from pathlib import Path
from typing import Annotated

import typer

from ...core.outside.console import echo, make_console
from ...core.outside.progress import Counting

READ = "conversations read"


def register(app: typer.Typer) -> None:
    """Add the command."""

    @app.command()
    def report(
        runs: Annotated[
            list[Path], typer.Argument(help="Run folders or log files; several are compared.")
        ],
        out: Annotated[
            Path | None, typer.Option(help="The file; default: report.html in the first folder.")
        ] = None,
        ratings: Annotated[
            list[Path] | None, typer.Option(help="Ratings beyond those in the folders.")
        ] = None,
        appendix: Annotated[
            list[Path] | None,
            typer.Option(help="A folder that analyze, evaluate or evolve wrote."),
        ] = None,
        title: Annotated[str | None, typer.Option(help="Heading of the page.")] = None,
    ) -> None:
        """Write one HTML page: numbers, figures and browsable conversations."""
        from . import write_report

        with Counting(make_console(stderr=True), READ) as counting:
            path = write_report(
                runs,
                out,
                ratings=ratings or (),
                appendices=appendix or (),
                title=title,
                observe=lambda _: counting.add(READ),
            )
        echo(f"wrote {path} ({path.stat().st_size / 1e6:.1f} MB)")
