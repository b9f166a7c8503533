"""`warmline analyze`: tables and figures about one to five corpora, side by side."""

# typer reads these annotations when the module is loaded, so they are not postponed
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ...core.console import echo, echo_json, make_console
from ...core.files import write_whole
from ...policies.safety import DISCLAIMER

ANALYSIS_NAME = "analysis.json"
TABLES_NAME = "tables.md"
FIGURES_NAME = "figures"


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
        int, typer.Option(min=2, help="Most dialogues of a corpus that are compared.")
    ] = 20_000,
    seed: Annotated[int, typer.Option(help="Of samples and intervals.")] = 0,
    tokenizer: Annotated[
        str | None, typer.Option(help="Hugging Face tokenizer (folder) for Distinct.")
    ] = None,
    figures: Annotated[bool, typer.Option(help="Draw figures into --out.")] = True,
    as_json: Annotated[
        bool, typer.Option("--json", help="The analysis as one JSON object.")
    ] = False,
) -> None:
    """Analyse corpora: lengths, strategies, similarity, diversity, and what tells them apart."""
    from .analysis import WORDS_NAME, analyse, plain
    from .corpus import read_corpus
    from .figures import draw_figures
    from .tables import tables
    from .text import hub_tokenizer, words

    read = []
    for given in corpora:
        name, path = _named(given)
        read.append(read_corpus(path, name=name, sample=sample, seed=seed))
    analysis = analyse(
        read,
        seed=seed,
        tokenize=hub_tokenizer(tokenizer) if tokenizer else words,
        tokenizer=Path(tokenizer).name if tokenizer else WORDS_NAME,
    )
    record = json.dumps(plain(analysis), ensure_ascii=False, indent=2)
    page = tables(analysis)
    drawn: list[str] = []
    if out is not None:
        write_whole(out / ANALYSIS_NAME, record + "\n")
        write_whole(out / TABLES_NAME, page)
        drawn = draw_figures(analysis, out / FIGURES_NAME) if figures else []
    if as_json:
        echo_json(record)
        return
    echo(page)
    console = make_console()
    if out is not None:
        written = f"{ANALYSIS_NAME}, {TABLES_NAME}"
        written += f", {len(drawn)} figures as SVG and PNG" if drawn else ""
        console.print(Text(f"written: {out}/{{{written}}}"))
    console.print(Text(DISCLAIMER, style="dim"))


def _named(given: str) -> tuple[str | None, Path]:
    """`NAME=PATH`, or a path alone; a path that exists is never split."""
    name, equals, path = given.partition("=")
    if not equals or Path(given).exists():
        return None, Path(given)
    return name, Path(path)
