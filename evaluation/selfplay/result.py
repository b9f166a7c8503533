"""The result of paired self-play: both sides measure by measure. Pure: values in, values out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ...agents.roles import Role
from ...environments.episodes.episode import Episode
from ...environments.episodes.rating import Rating
from ..judging.pairwise import WinRate
from ..statistics.paired import PairedResult, holm, paired_test
from ..statistics.uncertainty import Estimate, estimate_mean, estimate_share


@dataclass(frozen=True, slots=True)
class Outcome:
    """Both sides on one measure.

    Attributes:
        measure: a dimension of the rubric, or one that needs no judge.
        judged: whether it is a dimension of the rubric.
        a, b: means over conversations; scenarios are the units of the intervals.
        paired: A − B over conversations that both sides have a value for.
        p_holm: its p-value after Holm's correction over all outcomes.
    """

    measure: str
    judged: bool
    a: Estimate
    b: Estimate
    paired: PairedResult
    p_holm: float | None


@dataclass(frozen=True, slots=True)
class SelfPlayResult:
    """The result.

    Attributes:
        scenarios: played by both sides.
        seeds: each scenario is one conversation a seed and side.
        failed: conversations that ended in an error, by side; their pair is missing.
        unreadable: verdicts without a value, over both sides.
        outcomes: the rubric's dimensions, then what needs no judge.
        wins: win rates of A where conversations were compared.
    """

    scenarios: int
    seeds: tuple[int, ...]
    failed: dict[str, int]
    unreadable: int
    outcomes: list[Outcome]
    wins: list[WinRate]

    @property
    def nothing_came(self) -> bool:
        """Whether a side failed in every conversation, or no verdict at all could be read."""
        judged = [o for o in self.outcomes if o.judged]
        unread = bool(self.unreadable) and not any(o.a.n or o.b.n for o in judged)
        return unread or self.scenarios * len(self.seeds) in self.failed.values()

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        return dataclasses.asdict(self)


def episode_scores(ratings: Iterable[Rating]) -> dict[str, dict[str, float]]:
    """Mean of the readable values of each dimension by episode, over samples and utterances."""
    values: dict[str, dict[str, list[float]]] = {}
    for rating in ratings:
        if rating.value is not None:
            each = values.setdefault(rating.episode, {})
            each.setdefault(rating.dimension, []).append(rating.value)
    return {
        episode: {name: fmean(found) for name, found in dimensions.items()}
        for episode, dimensions in values.items()
    }


PLAIN_MEASURES: dict[str, Callable[[Episode], float]] = {
    "utterances": lambda e: float(len(e.utterances)),
    "ended by itself": lambda e: float(not e.truncated),
    "words a supporter utterance": lambda e: _words(e, Role.SUPPORTER),
    "words a seeker utterance": lambda e: _words(e, Role.SEEKER),
}
"""Measures that need no judge; NaN where one is undefined for an episode."""
SHARES = ("ended by itself",)
"""Those of them that hold or do not."""


def _words(episode: Episode, role: Role) -> float:
    said = [len(u.text.split()) for u in episode.utterances if u.role == role]
    return fmean(said) if said else float("nan")


def plain_measures(episode: Episode) -> dict[str, float]:
    """The measures that need no judge; undefined ones are left out."""
    found = {name: measure(episode) for name, measure in PLAIN_MEASURES.items()}
    return {name: value for name, value in found.items() if value == value}


def outcomes(
    a: Mapping[tuple[str, int], Mapping[str, float]],
    b: Mapping[tuple[str, int], Mapping[str, float]],
    judged: Sequence[str],
) -> list[Outcome]:
    """Compare two sides measure by measure.

    Args:
        a, b: by (scenario, seed), the value of each measure; one that is not there is missing.
        judged: the dimensions of the rubric.
    """
    places = sorted(a.keys() | b.keys())
    groups = [scenario for scenario, _ in places]
    found: list[Outcome] = []
    for measure in (*judged, *PLAIN_MEASURES):
        left = [a.get(place, {}).get(measure) for place in places]
        right = [b.get(place, {}).get(measure) for place in places]
        estimate = estimate_share if measure in SHARES else estimate_mean
        found.append(
            Outcome(
                measure,
                measure in judged,
                estimate(left, groups=groups),
                estimate(right, groups=groups),
                paired_test(left, right, groups=groups),
                None,
            )
        )
    corrected = holm({o.measure: o.paired.p for o in found if o.paired.p is not None})
    return [dataclasses.replace(o, p_holm=corrected.get(o.measure)) for o in found]
