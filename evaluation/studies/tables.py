"""The numbers of a study as tables: means with intervals, win rates, strengths, agreement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...core.tables import DASH, number
from ...environments.episodes.agreement import fleiss_kappa, krippendorff_alpha
from ..statistics.preferences import Comparison, strengths
from ..statistics.uncertainty import Estimate, estimate_mean, estimate_share
from .database import StudyDatabase
from .results import Choice, choices_of, scores_of, ticked_of
from .settings import StudySettings


@dataclass(frozen=True, slots=True)
class StudyTable:
    """One table: headings, rows of ready texts, and what they mean."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def tables_of(
    study: StudyDatabase, settings: StudySettings, *, draws: int = 1_000
) -> list[StudyTable]:
    """All tables that the answers so far allow.

    Args:
        draws: of the bootstrap of strengths, the only slow one.
    """
    scores, choices = scores_of(study, settings), choices_of(study, settings)
    made = []
    if scores:
        made += [means(scores), score_agreement(scores)]
    if settings.tags and scores:
        made.append(tag_table(ticked_of(study, settings), settings.tags))
    if choices:
        made += [win_rates(choices), strength_table(choices, draws), choice_agreement(choices)]
    return made


Scores = Mapping[str, Mapping[str, Sequence[tuple[str, str, float]]]]


def means(scores: Scores) -> StudyTable:
    """Means by model and dimension."""
    rows = []
    for model, dimensions in sorted(scores.items()):
        for name, given in dimensions.items():
            found = estimate_mean([v for _, _, v in given], groups=[rater for _, rater, _ in given])
            raters = len({rater for _, rater, _ in given})
            rows.append((model, name, *_estimate(found), str(raters)))
    note = "95 % interval: bootstrap, participants as the units."
    head = ("model", "dimension", "mean", "95 % interval", "n", "raters")
    return StudyTable("Ratings", head, tuple(rows), note)


def tag_table(ticked: Mapping[str, Sequence[Sequence[str]]], names: Sequence[str]) -> StudyTable:
    """How often each tag was ticked."""
    rows = [
        (model, name, str(count := sum(name in each for each in given)), str(len(given)),
         number(100 * count / len(given)))
        for model, given in sorted(ticked.items())
        for name in names
    ]  # fmt: skip
    note = (
        "n: conversations that were rated, each rater counted; a tag that was not ticked is a no."
    )
    return StudyTable("Tags", ("model", "tag", "ticked", "n", "%"), tuple(rows), note)


def score_agreement(scores: Scores) -> StudyTable:
    """Agreement by dimension over what several people rated."""
    units: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for dimensions in scores.values():
        for name, given in dimensions.items():
            for unit, rater, value in given:
                units[name][unit][rater] = value
    return _agreement(units, "ordinal")


def win_rates(choices: Iterable[Choice]) -> StudyTable:
    """How often each of two was found better."""
    groups: dict[tuple[str, str, str], list[Choice]] = defaultdict(list)
    for each in choices:
        groups[each.a, each.b, each.dimension].append(each)
    rows = []
    for (a, b, name), chosen in groups.items():
        values = [each.value for each in chosen]
        units = [each.unit for each in chosen]
        rate = estimate_share([(v + 1) / 2 for v in values], groups=units)
        decided = [each for each in chosen if each.value]
        won = [float((each.value > 0) == (each.first == "A")) for each in decided]
        first = estimate_share(won, groups=[each.unit for each in decided])
        biased = first.interval is not None and not first.interval.low <= 0.5 <= first.interval.high
        rows.append(
            (
                f"{a} against {b}",
                name,
                *(str(values.count(v)) for v in (1.0, 0.0, -1.0)),
                *_estimate(rate)[:2],
                number(first.value) + ("!" if biased else ""),
            )
        )
    note = (
        "rate: wins and half the ties of the one named first, Wilson's interval, talks or items as the"
        " units; first: share of decided choices won by the text that stood first, ! where the order"
        " matters."
    )
    head = ("compared", "dimension", "wins", "ties", "losses", "rate", "95 % interval", "first")
    return StudyTable("Choices", head, tuple(rows), note)


def strength_table(choices: Sequence[Choice], draws: int) -> StudyTable:
    """Bradley-Terry strengths with ties, plain and with the length held equal."""
    rows = []
    for name in dict.fromkeys(each.dimension for each in choices):
        own = [each for each in choices if each.dimension == name]
        compared = [Comparison(c.a, c.b, c.value, c.unit, c.length) for c in own]
        plain = strengths(compared, resamples=draws)
        held = strengths(compared, length=True, resamples=draws)
        beside = {each.name: each for each in held.strengths}
        for each in plain.strengths:
            other = beside[each.name]
            rows.append(
                (
                    name,
                    each.name,
                    number(each.value),
                    str(each.interval) if each.interval else DASH,
                    number(other.value),
                    str(other.interval) if other.interval else DASH,
                )
            )
    note = (
        f"Davidson's model (1970) of Bradley and Terry with ties: log-strengths that sum to 0, {draws:,}"
        " bootstrap draws of talks or items; at equal length: with the difference in words as a covariate."
    )
    head = ("dimension", "model", "strength", "95 % interval", "at equal length", "95 % interval")
    return StudyTable("Strengths", head, tuple(rows), note)


def choice_agreement(choices: Iterable[Choice]) -> StudyTable:
    """Agreement by dimension over what several people compared."""
    units: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for each in choices:
        units[each.dimension][each.item][each.rater] = each.value
    return _agreement(units, "nominal")


def _agreement(units: Mapping[str, Mapping[str, Mapping[str, float]]], level: str) -> StudyTable:
    rows = []
    for name, items in units.items():
        raters = sorted({rater for given in items.values() for rater in given})
        table = [[given.get(rater) for given in items.values()] for rater in raters]
        shared = sum(len(given) > 1 for given in items.values())
        fleiss = fleiss_kappa([list(given.values()) for given in items.values()])
        alpha = krippendorff_alpha(table, level="ordinal" if level == "ordinal" else "nominal")
        rows.append((name, str(shared), number(fleiss), number(alpha)))
    note = (
        f"Over what at least two people judged; alpha: {level}. A talk of one's own is judged by one"
        " person alone, so there is no agreement to count."
    )
    head = ("dimension", "shared", "Fleiss' kappa", "Krippendorff's alpha")
    return StudyTable("Agreement", head, tuple(rows), note)


def _estimate(found: Estimate) -> tuple[str, str, str]:
    interval = DASH if found.interval is None else str(found.interval)
    return number(found.value), interval, str(found.n)
