"""The tables of `warmline judge`, `calibrate`, `helpful` and `selfplay`, within 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from ...core.published import systems
from ...core.tables import DASH, number, plain_table

if TYPE_CHECKING:
    from rich.table import Table

    from .calibration import Calibration
    from .helpful import HelpfulChange, HelpfulRates
    from .human_preferences import PreferenceAgreement
    from .judge_run import MeanScore
    from .pairwise import WinRate


def score_table(found: Iterable[MeanScore], rubric: str) -> Table:
    """Means with intervals, and the papers' for the rubric of that name."""
    published = systems(rubric)
    numbers = map(str, range(1, len(published) + 1))
    table = plain_table("dimension", "mean", "95 % interval", "n", "missing", *numbers)
    for each in found:
        interval = DASH if each.low is None else f"[{each.low:.2f}, {each.high:.2f}]"
        table.add_row(
            each.dimension,
            number(each.mean),
            Text(interval),
            str(each.n),
            str(each.missing),
            *(number(figures.get(each.dimension)) for figures in published.values()),
        )
    return table


def published_notes(setting: str) -> Text:
    """What the numbered columns are."""
    lines = [f"{place}: published, {name}" for place, name in enumerate(systems(setting), 1)]
    if lines:
        lines.append("The papers' rubrics, models and raters are others: for orientation only.")
    return Text("\n".join(lines), style="dim")


def win_table(found: Iterable[WinRate]) -> Table:
    """Win rates of A, and what the order of showing did."""
    table = plain_table(
        "dimension", "A", "tie", "B", "missing", "A's rate", "95 % interval", "same", "first"
    )
    for each in found:
        table.add_row(
            each.dimension,
            *map(str, (each.wins, each.ties, each.losses, each.missing)),
            number(each.rate),
            Text(str(each.interval) if each.interval else DASH),
            number(each.consistent),
            number(each.first) + ("!" if each.position_bias else ""),
        )
    return table


WIN_NOTE = (
    "same: share of pairs with one verdict in both orders; first: share of decided verdicts won by"
    " the text shown first, 0.5 where the order does not matter, ! for a position bias."
)


def calibration_table(found: Iterable[Calibration]) -> Table:
    """Agreement by dimension: one line a figure, since each has an interval."""
    published = {
        name: value / 100
        for figures in systems("calibration").values()
        for name, value in figures.items()
    }
    table = plain_table(
        "dimension", "n", "missing", "figure", "value", "95 % interval", "published"
    )
    for each in found:
        lines = (
            ("Pearson", each.pearson),
            ("Spearman", each.spearman),
            ("quadratic kappa", each.kappa),
            ("judge - people", each.difference),
            (f"longer{' !' if each.length_bias else ''}", each.length_slope),
        )
        for place, (name, figure) in enumerate(lines):
            start = (each.dimension, str(each.n), str(each.judge_missing))
            beside = published.get(each.dimension) if name == "Pearson" else None
            table.add_row(
                *(start if place == 0 else ("", "", "")),
                name,
                number(figure.value),
                Text(str(figure.interval) if figure.interval else DASH),
                "" if beside is None else number(beside),
            )
    return table


CALIBRATION_NOTE = (
    "judge - people: mean difference. longer: points that the judge adds, beyond people, to a text"
    " one standard deviation longer; ! for a length bias. published: Pearson's r of GPT-4o with"
    " people (Self-Evolution Table 7)."
)


def preferences_table(found: Iterable[PreferenceAgreement]) -> Table:
    """How often the judge and people made the same choice."""
    table = plain_table(
        "dimension", "pairs", "missing", "agree", "95 % interval", "kappa", "A", "B"
    )
    for each in found:
        table.add_row(
            each.dimension,
            str(each.n),
            str(each.judge_missing),
            number(each.agreement.value),
            Text(str(each.agreement.interval) if each.agreement.interval else DASH),
            number(each.kappa),
            f"{each.people_a}/{each.judge_a}",
            f"{each.people_b}/{each.judge_b}",
        )
    return table


def helpful_table(found: Sequence[HelpfulRates], published: Sequence[str]) -> Table:
    """Per cent of replies that are helpful, a line a scorer, kind of reply and dimension.

    A scorer is named at its first line.
    """
    known = systems("helpful")
    numbers = map(str, range(1, len(published) + 1))
    table = plain_table("scorer", "of", "dimension", "%", "95 % interval", "n", "missing", *numbers)
    last = None
    for each in found:
        for name, rate in each.rates.items():
            interval = rate.interval
            table.add_row(
                "" if each.rater == last else each.rater,
                each.form,
                name,
                DASH if rate.value is None else f"{100 * rate.value:.2f}",
                Text(
                    DASH
                    if interval is None
                    else f"[{100 * interval.low:.2f}, {100 * interval.high:.2f}]"
                ),
                str(rate.n),
                str(rate.missing),
                *(
                    number(known[system].get(name)) if stands_beside(system, each.form) else DASH
                    for system in published
                ),
            )
            last = each.rater
    return table


def helpful_changes_table(found: Sequence[HelpfulChange]) -> Table:
    """Points of per cent by which the shares differ, a line a scorer, kind of reply and dimension.

    A scorer is named at its first line.
    """
    table = plain_table(
        "scorer", "of", "dimension", "difference", "95 % interval", "p", "places", "missing"
    )
    last = None
    for each in found:
        paired = each.paired
        table.add_row(
            "" if each.rater == last else each.rater,
            each.form,
            each.dimension,
            DASH if paired.difference is None else f"{100 * paired.difference:+.2f}",
            Text(
                DASH
                if paired.interval is None
                else f"[{100 * paired.interval.low:.2f}, {100 * paired.interval.high:.2f}]"
            ),
            DASH if paired.p is None else f"{paired.p:.3f}",
            str(paired.n),
            str(paired.missing),
        )
        last = each.rater
    return table


CHANGES_NOTE = (
    "difference: per cent here - per cent of --against, in the same places. Intervals are percentiles of"
    " the bootstrap, p is of a permutation test; both take conversations as the units."
)


def stands_beside(system: str, form: str) -> bool:
    """Whether a published rate is of the same kind of reply; of a log's replies we do not know."""
    published = {"FPEMF Table 4a": "single", "FPEMF Table 4b": "beams"}
    return form == "replies" or published.get(system.partition(":")[0]) == form
