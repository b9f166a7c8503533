"""`warmline analyze`: tables and figures about one to five corpora, side by side."""

# typer reads these annotations when the module is loaded, so they are not postponed
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ...core.errors import ConfigError
from ...core.outside.console import echo, echo_json, make_console
from ...core.outside.progress import Counting
from ...policies.safety import DISCLAIMER

READ = "dialogues read"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("analyze")(analyze)


def analyze(
    corpora: Annotated[
        list[str],
        typer.Argument(
            help="Runs' folders, log files or FOLDER:SIDE, one to five; or evaluations' replies. NAME=PATH names a"
            " column."
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder for analysis.json, tables.md and figures.")
    ] = None,
    limit: Annotated[
        int,
        typer.Option(min=2, help="At most so many dialogues of a corpus are compared, a sample."),
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
    """Analyse corpora: lengths, strategies, similarity, diversity, and what distinguishes them.

    Of replies of `evaluate`: how models begin, beside the corpus's people.
    """
    from .analyse_files import ANALYSIS_NAME, TABLES_NAME, analyse_files
    from .corpus import SAMPLE
    from .profile import disclaimer_of
    from .replies import all_replies

    named = [_named(given) for given in corpora]
    pairs: list[tuple[str | None, Path]] = [
        each if isinstance(each, tuple) else (None, each) for each in named
    ]
    if all_replies(pairs):
        idle = {
            "--limit": limit != SAMPLE,
            "--seed": seed != 0,
            "--tokenizer": tokenizer is not None,
            "--no-figures": not figures,
        }
        if set_in_vain := [name for name, chosen in idle.items() if chosen]:
            raise ConfigError(
                f"of replies only their beginnings are analysed: {', '.join(set_in_vain)} would"
                " change nothing",
                hint="leave them out",
            )
        _replies(pairs, out, as_json)
        return
    with Counting(make_console(stderr=True), READ) as counting:
        found = analyse_files(
            named,
            out=out,
            limit=limit,
            seed=seed,
            tokenizer=tokenizer,
            figures=figures,
            observe=lambda _: counting.add(READ),
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
    ends = [corpus.stops for corpus in found.analysis.corpora]
    console.print(Text(disclaimer_of(ends), style="dim"))


def _replies(evaluations: list[tuple[str | None, Path]], out: Path | None, as_json: bool) -> None:
    """Analyse replies of `evaluate` instead: how they begin."""
    from .analysis import plain
    from .replies import JSON_NAME, TABLES_NAME, analyse_replies, page, write_replies

    found = analyse_replies(evaluations)
    record = plain(found)
    if out is not None:
        write_replies(found, record, out)
    if as_json:
        echo_json(json.dumps(record, ensure_ascii=False))
        return
    echo(page(found))
    console = make_console()
    if out is not None:
        console.print(Text(f"written: {out}/{{{JSON_NAME}, {TABLES_NAME}}}"))
    console.print(Text(DISCLAIMER, style="dim"))


def _named(given: str) -> Path | tuple[str, Path]:
    """`NAME=PATH`, or a path alone; a path that exists is never split."""
    name, equals, path = given.partition("=")
    if not equals or Path(given).exists():
        return Path(given)
    return name, Path(path)
