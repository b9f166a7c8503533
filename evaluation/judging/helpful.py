"""Helpful rates: of the replies that a scorer judged, the share that is helpful (FPEMF section
4.1).

A reply is helpful only if every dimension holds. One dimension that fails makes it unhelpful, even
where another is missing; a missing one among those that hold leaves the answer missing.

What a model wrote and what was said are never one rate: of a model's candidates the best alone
(`single`) and all of them (`beams`) are counted, and the gold replies for themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ...environments.episodes.rating import CANDIDATE, GOLD, Rating
from ..statistics.paired import PairedResult, paired_test
from ..statistics.uncertainty import Estimate, estimate_share

DIMENSIONS = ("empathy", "strategy", "coherence", "topic")
ALL = "helpful"
"""Name of the conjunction."""

THRESHOLD = 0.5
"""A scorer's value from which on a dimension holds."""

Form = Literal["replies", "single", "beams", "gold"]
FIRST = f"{CANDIDATE}0"

Place = tuple[str, int, str, int]
"""Episode, utterance, candidate and sample."""


@dataclass(frozen=True, slots=True)
class HelpfulRates:
    """One scorer's rates of one kind of reply.

    Attributes:
        rater: the scorer.
        form: `replies` of a log or an evaluation; of a model's candidates the best one (`single`,
            FPEMF Table 4a) and all of them (`beams`, Table 4b); `gold`, what was said in the same
            places.
        replies: how many were rated.
        rates: fractions by dimension; `ALL` is the conjunction. Intervals are Wilson's, with
            episodes as the units.
    """

    rater: str
    form: Form
    replies: int
    rates: dict[str, Estimate]


@dataclass(frozen=True, slots=True)
class HelpfulChange:
    """How one scorer's rate differs between two models in the same places.

    Attributes:
        rater, form: as in `HelpfulRates`.
        dimension: one of the dimensions, or `ALL`.
        paired: difference after − before as a fraction, its interval and p; episodes are the units.
    """

    rater: str
    form: Form
    dimension: str
    paired: PairedResult


def helpful_rates(
    ratings: Iterable[Rating],
    *,
    dimensions: Sequence[str] = DIMENSIONS,
    threshold: float = THRESHOLD,
) -> list[HelpfulRates]:
    """Rates by rater and kind of reply; kinds of which nothing was rated are left out.

    Only ratings of kind `scorer` count, whose values are from 0 to 1: a judge's scores from 1 to 5
    on a dimension of the same name do not count. Ratings of other dimensions and of whole episodes
    are left out. If a rater answered several times, each sample counts as a reply of its own.

    Args:
        threshold: a dimension holds from this value on, as in `train fpemf`. Published rates are at
            one half; others say only what is more or less helpful than something that was chosen.
    """
    return [
        _rates(rater, form, own, dimensions, threshold)
        for (rater, form), own in _by_kind(ratings, dimensions).items()
    ]


def helpful_changes(
    after: Iterable[Rating],
    before: Iterable[Rating],
    *,
    dimensions: Sequence[str] = DIMENSIONS,
    threshold: float = THRESHOLD,
) -> list[HelpfulChange]:
    """What one scorer finds in the same places after and before a training, or of two models.

    The unit is a place: of several replies there (beams, samples) the share that is helpful counts.

    Args:
        after, before: their ratings; see `helpful_rates`.
        dimensions, threshold: as there.

    Returns:
        By rater and kind of reply that both have, every dimension and `ALL`.

    Raises:
        MissingExtra: scipy is not installed.
    """
    left, right = _by_kind(after, dimensions), _by_kind(before, dimensions)
    changes: list[HelpfulChange] = []
    for rater, form in (kind for kind in left if kind in right):
        sides = [_marks(each[rater, form], dimensions, threshold) for each in (left, right)]
        for name in (*dimensions, ALL):
            a, b = (_by_place(marks, name) for marks in sides)
            places = sorted(a.keys() | b.keys())
            compared = paired_test(
                [a.get(place) for place in places],
                [b.get(place) for place in places],
                groups=[episode for episode, _ in places],
            )
            changes.append(HelpfulChange(rater, form, name, compared))
    return changes


Values = Mapping[Place, Mapping[str, float | None]]
Marks = Mapping[Place, Mapping[str, bool | None]]


def _by_kind(
    ratings: Iterable[Rating], dimensions: Sequence[str]
) -> dict[tuple[str, Form], Values]:
    """What scorers said, by rater and kind of reply."""
    found: dict[str, dict[Place, dict[str, float | None]]] = {}
    for r in ratings:
        if r.kind == "scorer" and r.dimension in dimensions and r.utterance is not None:
            place = (r.episode, r.utterance, r.candidate, r.sample)
            found.setdefault(r.rater, {}).setdefault(place, {})[r.dimension] = r.value
    return {
        (rater, form): own
        for rater, replies in found.items()
        for form, own in _by_form(replies).items()
        if own
    }


def _by_form(replies: Values) -> dict[Form, Values]:
    """The same replies by kind; the best candidate is among all candidates too."""
    forms: dict[Form, dict[Place, Mapping[str, float | None]]] = {
        "replies": {}, "single": {}, "beams": {}, "gold": {},
    }  # fmt: skip
    for place, values in replies.items():
        name = place[2]
        kind: Form = "gold" if name == GOLD else "replies"
        if name.startswith(CANDIDATE):
            kind = "beams"
        forms[kind][place] = values
        if name == FIRST:
            forms["single"][place] = values
    return dict(forms)


def conjunction(
    values: Mapping[str, float | None], dimensions: Sequence[str], threshold: float = THRESHOLD
) -> bool | None:
    """Whether all dimensions hold; None where that cannot be known."""
    given = [values.get(name) for name in dimensions]
    if any(value is not None and value < threshold for value in given):
        return False
    return None if None in given else True


def _marks(replies: Values, dimensions: Sequence[str], threshold: float) -> Marks:
    """What holds of each reply; under `ALL` their conjunction."""
    return {
        place: {name: _holds(each.get(name), threshold) for name in dimensions}
        | {ALL: conjunction(each, dimensions, threshold)}
        for place, each in replies.items()
    }


def _holds(value: float | None, threshold: float) -> bool | None:
    return None if value is None else value >= threshold


def _by_place(marks: Marks, name: str) -> dict[tuple[str, int], float]:
    """The share that holds of the replies of each place that are known."""
    known: dict[tuple[str, int], list[bool]] = {}
    for (episode, utterance, _, _), each in marks.items():
        if (mark := each[name]) is not None:
            known.setdefault((episode, utterance), []).append(mark)
    return {place: sum(held) / len(held) for place, held in known.items()}


def _rates(
    rater: str, form: Form, replies: Values, dimensions: Sequence[str], threshold: float
) -> HelpfulRates:
    groups = [place[0] for place in replies]
    marks = list(_marks(replies, dimensions, threshold).values())
    rates = {
        name: estimate_share(
            [None if (mark := each[name]) is None else float(mark) for each in marks],
            groups=groups,
        )
        for name in (*dimensions, ALL)
    }
    return HelpfulRates(rater, form, len(replies), rates)
