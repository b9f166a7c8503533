"""`warmline import`: recorded dialogues of a published format, normalised, counted and written."""

# typer reads these annotations when the module is loaded, so they are not postponed
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from ....core.errors import NOTHING_CAME, ConfigError
from ....core.outside.console import echo_json, make_console
from ....core.outside.progress import Counting
from ..sources import UNKNOWN_LICENCE, Source
from ..statistics import CorpusStatistics, comparison, strategy_shares
from .folder import import_corpus
from .importers.registry import AUTO, OURS, SEEDS
from .normalise import RECIPES, STEPS
from .reader import Import, ImportReport
from .scenarios import OF_TOOLS, scenarios_from, write_scenarios
from .seeds import SeedImport

SOURCE_SHARES = "% of labels, before merging"
"""As the papers count: every labelled utterance of the source."""
KEPT_SHARES = "as kept (analyze)"
"""After the recipe: of merged utterances equal labels count once; what `analyze` counts."""

READ = "dialogues read"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_dialogues)


def import_dialogues(
    format: Annotated[  # noqa: A002 - shown as FORMAT
        str,
        typer.Argument(
            help=f"{AUTO} (found by trying), {', '.join(OURS)}, or an import string; {SEEDS} for the"
            " dialogues that ship."
        ),
    ],
    path: Annotated[
        Path | None, typer.Argument(help=f"A file, plain or .gz, or a folder; none with {SEEDS}.")
    ] = None,
    recipe: Annotated[
        str,
        typer.Option(help=f"{', '.join(RECIPES)}, or steps joined by commas: {', '.join(STEPS)}."),
    ] = "raw",
    out: Annotated[
        Path | None, typer.Option(help="Folder to make: episodes, sources and counts.")
    ] = None,
    stats: Annotated[
        bool, typer.Option("--stats", help="Statistics beside the published corpora.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object: the statistics, or else the report.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Of the source; default the corpus's.")] = None,
    licence: Annotated[
        str | None, typer.Option(help="Of the source, where it is not a known corpus.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="Where the source is published.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many dialogues.")] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first broken record or turn.")
    ] = False,
    scenarios: Annotated[
        Path | None,
        typer.Option(
            help=f"Write scenarios to play instead of dialogues, to this file: {', '.join(OF_TOOLS)}."
        ),
    ] = None,
    problem_type: Annotated[
        str | None, typer.Option(help="With --scenarios: of all of them; see `warmline types`.")
    ] = None,
) -> None:
    """Import recorded dialogues as episodes, and report what was changed and left out."""
    importing: Import | SeedImport
    reading = {"--name": name, "--licence": licence, "--url": url, "--limit": limit,
               "--strict": strict, "--recipe": None if recipe == "raw" else recipe}  # fmt: skip
    if scenarios is not None or problem_type is not None:
        _refuse_with_scenarios({"--out": out, "--stats": stats, "--json": as_json, **reading})
        _write_scenarios(format, path, scenarios, problem_type)
        return
    if format == SEEDS:
        _refuse_with_seeds({"PATH": path, **reading})
        importing = SeedImport()
    elif path is None:
        raise ConfigError(
            f"which file is in the format '{format}'?",
            hint="`warmline import FORMAT PATH`, or `warmline import seeds` for what ships",
        )
    else:
        importing = Import(path, format, recipe=recipe, name=name, limit=limit, strict=strict)
    with Counting(make_console(stderr=True), READ) as counting:
        done = import_corpus(
            importing, out, licence=licence, url=url, observe=lambda _: counting.add(READ)
        )
    if as_json:
        shown = done.statistics.to_dict() if stats else done.report.to_dict()
        echo_json(json.dumps(shown, ensure_ascii=False))
    else:
        _show(done.report, done.statistics, stats)
        if out is not None:
            _say_written(out, done.sources)
    if not done.report.episodes:
        raise typer.Exit(NOTHING_CAME)


def _write_scenarios(
    format: str,  # noqa: A002
    path: Path | None,
    out: Path | None,
    problem_type: str | None,
) -> None:
    if path is None or out is None or problem_type is None:
        raise ConfigError(
            "scenarios need a file to read, a file to write and a problem type",
            hint="`warmline import patienthub FILE --scenarios OUT.jsonl --problem-type 'Job Crisis'`",
        )
    found = scenarios_from(path, format, problem_type=problem_type)
    write_scenarios(out, found)
    make_console(soft_wrap=True).print(
        f"{len(found)} scenarios written: `warmline simulate --scenarios {out}` plays them"
    )


def _refuse_with_scenarios(options: dict[str, object]) -> None:
    """Scenarios are made of every record, and nothing but their file is written."""
    if given := _given(options):
        raise ConfigError(
            f"{', '.join(given)} would change nothing: with --scenarios no dialogue is imported",
            hint="leave it out, or import the dialogues in a command of its own, without --scenarios",
        )


def _given(options: dict[str, object]) -> list[str]:
    return [word for word, value in options.items() if value not in (None, False)]


def _refuse_with_seeds(options: dict[str, object]) -> None:
    """The dialogues that ship are taken as they are."""
    if given := _given(options):
        raise ConfigError(
            f"{', '.join(given)} would change nothing: {SEEDS} are the dialogues that ship, taken as"
            " they are",
            hint="leave it out; where a format of yours has that name, give its import string",
        )


def _show(report: ImportReport, statistics: CorpusStatistics, stats: bool) -> None:
    console = make_console()
    console.print(_report_table(report))
    for fault in report.faults:
        console.print(Text(fault, style="yellow"), soft_wrap=True)
    if report.faulty > len(report.faults):
        console.print(Text(f"and {report.faulty - len(report.faults)} more", style="yellow"))
    if stats:
        head, *rows = comparison(statistics, " and ".join(report.names) or "this file")
        table = Table(*head, title="words by str.split, averages per dialogue and utterance")
        for row in rows:
            table.add_row(*row)
        console.print(table)
        shares = strategy_shares(report.tally.strategies)
        if shares:
            kept = strategy_shares(statistics.strategies)
            table = Table("strategy", SOURCE_SHARES, KEPT_SHARES)
            for strategy, share in shares.items():
                table.add_row(strategy, f"{share:.2f}", f"{kept.get(strategy, 0.0):.2f}")
            console.print(table)


def _report_table(report: ImportReport) -> Table:
    data = report.to_dict()
    table = Table(title=f"{report.format}, recipe {report.recipe}", show_header=False)
    for key in ("records", "episodes"):
        table.add_row(key, f"{data[key]:,}")
    for step, counts in data["steps"].items():
        words = {
            "dialogues": "dialogues touched",
            "changed": "turns changed",
            "dropped": "turns merged" if step == "merge" else "turns dropped",
            "emptied": "dialogues dropped",
        }
        parts = [f"{counts[key]:,} {word}" for key, word in words.items() if counts[key]]
        table.add_row(f"step {step}", ", ".join(parts))
    if report.broken:
        table.add_row("broken records left out", f"{report.broken:,}")
    for key in ("sources", "speakers", "unmapped_labels", "unmapped_types", "unspecified"):
        if data[key]:
            parts = [f"{word} {count:,}" for word, count in data[key].items()]
            table.add_row(key.replace("_", " "), Text(", ".join(parts)))
    for key in ("episodes_with_crisis_language", "utterances_with_several_strategies"):
        if data[key]:
            table.add_row(key.replace("_", " "), f"{data[key]:,}")
    return table


def _say_written(out: Path, sources: tuple[Source, ...]) -> None:
    console = make_console(soft_wrap=True)
    console.print(f"written: {out}")
    unknown = [source.name for source in sources if source.licence == UNKNOWN_LICENCE]
    if unknown:
        console.print(
            f"the licence of {', '.join(unknown)} is not known: give it with --licence, or an export"
            " will ask",
            style="yellow",
        )
