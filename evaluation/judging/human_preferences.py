"""People's choices between two texts against a judge's: does the judge prefer what people prefer?

A preference is a comparison by a person: 1 where A was found better, -1 where B was, 0 for a tie.
Of several people's preferences on a pair the sign of the sum counts. The judge's verdict is that of
`pair_verdicts`: A or B only where both orders say so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ...core.errors import ConfigError
from ...environments.episodes.agreement import cohen_kappa
from ...environments.episodes.rating import Rating
from ..statistics.uncertainty import Estimate, estimate_share
from .asking import shown_first
from .pairwise import pair_verdicts

Pair = tuple[str, int | None]


@dataclass(frozen=True, slots=True)
class PreferenceAgreement:
    """A judge's choices against people's on one dimension.

    Attributes:
        n: pairs with a choice of both.
        judge_missing: pairs that people chose in, and the judge has no readable verdict on.
        agreement: share of pairs with the same choice among A, tie and B; episodes are the units.
        kappa: Cohen's, over the same; None where both always made the same one choice.
        people_a, people_b, judge_a, judge_b: how often each side was chosen.
    """

    dimension: str
    n: int
    judge_missing: int
    agreement: Estimate
    kappa: float | None
    people_a: int
    people_b: int
    judge_a: int
    judge_b: int


def compare_preferences(
    judge: Iterable[Rating], people: Iterable[Rating]
) -> list[PreferenceAgreement]:
    """Compare a judge's comparisons with people's, dimension by dimension.

    Args:
        judge: its ratings; those that are not comparisons are left aside.
        people: ratings of kind `human`; those without `notes.first` are left aside.

    Raises:
        ConfigError: the two compared different candidates.
    """
    asked = [r for r in judge if r.kind != "human" and shown_first(r) is not None]
    preferences = [r for r in people if r.kind == "human" and shown_first(r) is not None]
    named = {r.candidate for r in asked}, {r.candidate for r in preferences if r.candidate}
    if asked and preferences and len(named[0] | named[1]) > 1:
        raise ConfigError(
            "the judge and the people compared different things: "
            + "; ".join(sorted(repr(name) for name in named[0] | named[1])),
            hint="leave the people's candidate empty, or name it as the judge's",
        )
    found = []
    for name in dict.fromkeys(rating.dimension for rating in asked):
        verdicts = pair_verdicts(rating for rating in asked if rating.dimension == name)
        its = _signs((place[:2], value) for place, value in verdicts.items())
        theirs = _signs(
            ((r.episode, r.utterance), r.value) for r in preferences if r.dimension == name
        )
        if theirs:
            found.append(_agreement(name, its, theirs))
    return found


def _signs(choices: Iterable[tuple[Pair, float | None]]) -> dict[Pair, int | None]:
    """Of each pair the sign of the sum of its choices; None where none could be read."""
    found: dict[Pair, list[float]] = {}
    for place, value in choices:
        found.setdefault(place, []).extend([] if value is None else [value])
    return {
        place: (sum(each) > 0) - (sum(each) < 0) if each else None for place, each in found.items()
    }


def _agreement(
    dimension: str, judge: Mapping[Pair, int | None], people: Mapping[Pair, int | None]
) -> PreferenceAgreement:
    rated = [place for place, choice in people.items() if choice is not None]
    both = [place for place in rated if judge.get(place) is not None]
    theirs, its = [people[place] for place in both], [judge[place] for place in both]
    same = [float(x == y) for x, y in zip(theirs, its, strict=True)]
    return PreferenceAgreement(
        dimension=dimension,
        n=len(both),
        judge_missing=len(rated) - len(both),
        agreement=estimate_share(same, groups=[episode for episode, _ in both]),
        kappa=cohen_kappa(theirs, its),
        people_a=theirs.count(1),
        people_b=theirs.count(-1),
        judge_a=its.count(1),
        judge_b=its.count(-1),
    )


compare_votes = compare_preferences
"""The earlier name of `compare_preferences`."""
