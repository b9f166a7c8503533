"""`warmline calibrate` and `warmline helpful`: how good a judge is, and what a scorer found."""

# typer reads these annotations when the module is loaded, so they are not postponed
import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ...core.console import echo_json, make_console
from ...core.errors import ConfigError, did_you_mean
from ...environments.episodes.log import iter_episodes
from ...environments.episodes.rating import Rating, iter_ratings


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("calibrate")(calibrate_judge)
    app.command("helpful")(helpful)


def calibrate_judge(
    judged: Annotated[Path, typer.Argument(help="The judge's ratings: a file, or a run's folder.")],
    people: Annotated[Path, typer.Argument(help="People's ratings: JSONL or CSV.")],
    episodes: Annotated[
        Path | None, typer.Option(help="The log that was judged: finds a bias by length.")
    ] = None,
    rater: Annotated[str | None, typer.Option(help="Only this judge.")] = None,
    rubric: Annotated[
        str | None, typer.Option(help="Only this rubric: its name, or all that the ratings say.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the intervals.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.")] = False,
) -> None:
    """Compare a judge's ratings with people's: correlation, kappa, bias by length.

    Where the judge also compared texts in both orders, its bias by position is told too, and where
    people chose between the same texts, how often they chose alike.
    """
    from .calibration import calibrate, lengths_of
    from .human_preferences import compare_votes
    from .human_ratings import read_ratings
    from .pairwise import win_rates
    from .tables import CALIBRATION_NOTE, WIN_NOTE, calibration_table, votes_table, win_table

    ratings = chosen(read_ratings(judged), rater, rubric)
    by_people = read_ratings(people)
    lengths = lengths_of(iter_episodes(episodes)) if episodes is not None else None
    found = calibrate(ratings, by_people, lengths=lengths, seed=seed)
    orders = win_rates(ratings, seed=seed)
    votes = compare_votes(ratings, by_people, seed=seed)
    if not found and not orders:
        theirs = {r.dimension for r in by_people if r.kind == "human"}
        raise ConfigError(
            "the judge and the people share no dimension",
            hint=f"the judge rated: {', '.join(sorted({r.dimension for r in ratings}))};"
            f" people: {', '.join(sorted(theirs)) or 'nothing'}",
        )
    if as_json:
        record = {
            "dimensions": [dataclasses.asdict(each) for each in found],
            "comparisons": [dataclasses.asdict(each) for each in orders],
            "votes": [dataclasses.asdict(each) for each in votes],
        }
        echo_json(json.dumps(record, ensure_ascii=False))
        return
    console = make_console()
    if found:
        console.print(calibration_table(found), Text(CALIBRATION_NOTE, style="dim"), sep="\n")
    if orders:
        console.print(win_table(orders), Text(WIN_NOTE, style="dim"), sep="\n")
    if votes:
        console.print(votes_table(votes))
        console.print(
            Text("A, B: chosen by people / by the judge; ties are the rest.", style="dim")
        )
    for each in found:
        for line in each.advice:
            console.print(Text(f"{each.dimension}: {line}", style="yellow"))


def chosen(ratings: list[Rating], rater: str | None, rubric: str | None) -> list[Rating]:
    """The ratings of one judge and rubric, as far as they are named.

    Raises:
        ConfigError: none is left.
    """
    judged = [r for r in ratings if r.kind != "human"]
    found = [
        r
        for r in judged
        if rater in (None, r.rater) and rubric in (None, r.rubric, r.rubric.partition(" ")[0])
    ]
    if not found:
        raters, rubrics = sorted({r.rater for r in judged}), sorted({r.rubric for r in judged})
        raise ConfigError(
            "no rating by a judge is left" if judged else "there is no rating by a judge",
            problems=[f"raters: {', '.join(raters)}", f"rubrics: {', '.join(rubrics)}"]
            if judged
            else (),
            hint=did_you_mean(rater or rubric or "", [*raters, *rubrics]),
        )
    return found


def helpful(
    ratings: Annotated[Path, typer.Argument(help="A scorer's ratings: a file or a run's folder.")],
    published: Annotated[
        list[str] | None,
        typer.Option(help="Systems of FPEMF Table 4 beside, as 'FPEMF Table 4a: BBJ_FPEMF'."),
    ] = None,
    leave_out: Annotated[
        list[str] | None, typer.Option(help="Candidates that do not count, such as gold.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the intervals.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="The rates as JSON.")] = False,
) -> None:
    """Show how many replies a scorer finds helpful, by dimension and on all four (FPEMF Table 4)."""
    from ...core.published import refuse_unknown
    from .helpful import DIMENSIONS, helpful_rates
    from .tables import helpful_table

    beside = published or list(BESIDE)
    refuse_unknown(beside, ["helpful"])
    counted = (r for r in iter_ratings(ratings) if r.candidate not in (leave_out or ()))
    rates = helpful_rates(counted, seed=seed)
    if not rates:
        raise ConfigError(
            f"{ratings} rates no reply on {', '.join(DIMENSIONS)}",
            hint="`warmline train fpemf` writes such ratings, or a scorer of your own",
        )
    if as_json:
        echo_json(json.dumps([dataclasses.asdict(each) for each in rates], ensure_ascii=False))
        return
    notes = [f"{place}: published, {name}" for place, name in enumerate(beside, 1)]
    make_console().print(
        helpful_table(rates, beside), Text("\n".join(notes), style="dim"), sep="\n"
    )


BESIDE = ("FPEMF Table 4a: DKPE_FPEMF", "FPEMF Table 4b: DKPE_FPEMF")
"""Shown by default: the best system, one reply and ten beams."""
