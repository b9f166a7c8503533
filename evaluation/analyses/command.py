"""`warmline analyze`: tables and figures about one to five corpora, side by side."""

# typer reads these annotations when the module is loaded, so they are not postponed
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ...core.outside.console import echo, echo_json, make_console
from ...policies.safety import DISCLAIMER


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("analyze")(analyze)


def analyze(
    corpora: Annotated[
        list[str],
        typer.Argument(help="Runs' folders or log files, one to five; NAME=PATH names a column."),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for analysis.json, tables.md and figures.")
    ] = None,
    sample: Annotated[
        int, typer.Option(min=2, help="How many dialogues of a corpus are compared at most.")
    ] = 20_000,
    seed: Annotated[int, typer.Option(help="Seed of samples and intervals.")] = 0,
    tokenizer: Annotated[
        str | None, typer.Option(help="Hugging Face tokenizer (folder) for Distinct.")
    ] = None,
    figures: Annotated[bool, typer.Option(help="Draw figures into --out.")] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="The analysis as one JSON object.")
    ] = False,
) -> None:
    """Analyse corpora: lengths, strategies, similarity, diversity, and what distinguishes them."""
    from .analyse_files import ANALYSIS_NAME, TABLES_NAME, analyse_files

    found = analyse_files(
        [_named(given) for given in corpora],
        out=out,
        sample=sample,
        seed=seed,
        tokenizer=tokenizer,
        figures=figures,
    )
    if as_json:
        echo_json(found.record)
        return
    echo(found.page)
    console = make_console()
    if out is not None:
        written = f"{ANALYSIS_NAME}, {TABLES_NAME}"
        written += f", {len(found.figures)} figures as SVG and PNG" if found.figures else ""
        console.print(Text(f"written: {out}/{{{written}}}"))
    console.print(Text(DISCLAIMER, style="dim"))


def _named(given: str) -> Path | tuple[str, Path]:
    """`NAME=PATH`, or a path alone; a path that exists is never split."""
    name, equals, path = given.partition("=")
    if not equals or Path(given).exists():
        return Path(given)
    return name, Path(path)
