"""`warmline calibrate` and `warmline helpful`: how good a judge is, and what a scorer found."""

# typer reads these annotations when the module is loaded, so they are not postponed
import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ...core.errors import ConfigError
from ...core.outside.console import echo_json, make_console
from ...environments.episodes.rating import Rating, iter_ratings


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("calibrate")(calibrate_judge)
    app.command("helpful")(helpful)


def calibrate_judge(
    judged: Annotated[
        Path,
        typer.Argument(help="The ratings of a judge, or of `score`: a file, or a run's folder."),
    ],
    people: Annotated[Path, typer.Argument(help="People's ratings: JSONL or CSV.")],
    episodes: Annotated[
        Path | None,
        typer.Option(help="The log or the replies that were judged; shows a bias by length."),
    ] = None,
    rater: Annotated[str | None, typer.Option(help="Only this judge.")] = None,
    rubric: Annotated[
        str | None,
        typer.Option(help="Only this rubric: its name, or its whole id as in the ratings."),
    ] = None,
    holds: Annotated[
        float | None,
        typer.Option(help="For a scorer's yes or no: people's scores from this on count as yes."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the intervals.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """Compare a judge's or a scorer's ratings with people's: correlation, kappa, bias by length.

    Where the judge also compared texts in both orders, its position bias is reported too, and where
    people chose between the same texts, how often they chose the same one.
    """
    from .calibration_report import calibration_report
    from .tables import CALIBRATION_NOTE, WIN_NOTE, calibration_table, preferences_table, win_table

    report = calibration_report(
        judged, people, episodes=episodes, rater=rater, rubric=rubric, holds=holds, seed=seed
    )
    if as_json:
        echo_json(json.dumps(report.as_dict(), ensure_ascii=False))
        return
    console = make_console()
    if report.dimensions:
        console.print(
            calibration_table(report.dimensions), Text(CALIBRATION_NOTE, style="dim"), sep="\n"
        )
    if report.comparisons:
        console.print(win_table(report.comparisons), Text(WIN_NOTE, style="dim"), sep="\n")
    if report.preferences:
        console.print(preferences_table(report.preferences))
        console.print(
            Text("A, B: chosen by people / by the judge; ties are the rest.", style="dim")
        )
    for each in report.dimensions:
        for line in each.advice:
            console.print(Text(f"{each.dimension}: {line}", style="yellow"))


def helpful(
    ratings: Annotated[Path, typer.Argument(help="A scorer's ratings: a file or a run's folder.")],
    published: Annotated[
        list[str] | None,
        typer.Option(help="Published systems to show, as 'FPEMF Table 4a: BBJ_FPEMF'."),
    ] = None,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(help="Candidates to leave out by name, such as candidate9 or gold."),
    ] = None,
    dimensions: Annotated[
        list[str] | None,
        typer.Option(help="Dimensions that must hold; default: all four of FPEMF."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="The same scorer's ratings of another model in the same places."),
    ] = None,
    threshold: Annotated[
        float,
        typer.Option(help="A dimension holds from this value on; published rates are at 0.5."),
    ] = 0.5,
    as_json: Annotated[bool, typer.Option("--json", help="The rates as JSON.")] = False,
) -> None:
    """Show how many replies a scorer finds helpful, by dimension and on all (FPEMF Table 4).

    Of a model's candidates the best one and all of them; gold replies have lines of their own.
    `--against` shows how they differ from those of another model.
    """
    from ...core.published import refuse_unknown
    from .helpful import DIMENSIONS, THRESHOLD, helpful_changes, helpful_rates
    from .tables import CHANGES_NOTE, helpful_changes_table, helpful_table

    if not 0 <= threshold <= 1:
        raise ConfigError(
            f"a threshold of {threshold:g} is outside of a scorer's values", hint="from 0 to 1"
        )
    usual = list(BESIDE) if threshold == THRESHOLD else []
    beside = published or usual
    refuse_unknown(beside, ["helpful"])
    wanted = tuple(dimensions or DIMENSIONS)

    def counted(file: Path) -> list[Rating]:
        found = [r for r in iter_ratings(file) if r.candidate not in (leave_out or ())]
        if not helpful_rates(found, dimensions=wanted):
            raise ConfigError(
                f"{file} rates no reply on {', '.join(wanted)}",
                hint="`warmline train fpemf` writes such ratings, or a scorer of your own",
            )
        return found

    own = counted(ratings)
    rates = helpful_rates(own, dimensions=wanted, threshold=threshold)
    changes = []
    if against is not None:
        other = counted(against)
        changes = helpful_changes(own, other, dimensions=wanted, threshold=threshold)
        if not changes:
            raise ConfigError(
                f"{ratings} and {against} have no scorer and kind of reply in common",
                hint="judge both with one scorer, named by one path",
            )
    if as_json:
        found = [dataclasses.asdict(each) for each in rates]
        further = [dataclasses.asdict(each) for each in changes]
        data = {"rates": found, "changes": further} if changes else found
        echo_json(json.dumps(data, ensure_ascii=False))
        return
    notes = [f"{place}: published, {name}" for place, name in enumerate(beside, 1)]
    if threshold != THRESHOLD:
        notes.append(f"held from {threshold:g} on; published rates are at {THRESHOLD:g}")
    console = make_console()
    console.print(helpful_table(rates, beside), Text("\n".join(notes), style="dim"), sep="\n")
    if changes:
        console.print(helpful_changes_table(changes), Text(CHANGES_NOTE, style="dim"), sep="\n")


BESIDE = ("FPEMF Table 4a: DKPE_FPEMF", "FPEMF Table 4b: DKPE_FPEMF")
"""Shown by default: the best system, one reply and ten beams."""
