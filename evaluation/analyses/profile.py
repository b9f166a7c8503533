"""Counts over a whole corpus, taken in one pass: lengths, ends, caps, strategies and when they
come.

Lengths are kept as histograms of whole numbers, so medians are exact and memory does not grow with
the corpus.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...agents.roles import Role, Strategy
from ...environments.episodes.episode import Episode, StopReason
from ...policies.safety import disclaimer_for

INTERVALS = 6
"""Equal parts of a dialogue's progress (SweetieChat section 4.3)."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """Distribution of a length. Without a value everything but `n` is None.

    Quantiles between two values are interpolated linearly: the median of 2 and 10 is 6.
    """

    n: int
    mean: float | None
    sd: float | None
    p10: float | None
    median: float | None
    p90: float | None
    histogram: dict[int, int]


@dataclass(slots=True)
class Counts:
    """What is counted; grows by `add`.

    Attributes:
        dialogues: episodes counted.
        failed: episodes that ended in an error; not among `dialogues`.
        empty: episodes without an utterance; not among `dialogues`.
        utterances_each: histogram of utterances a dialogue.
        words: histogram of white-space separated words an utterance, by speaker.
        characters: characters, by speaker.
        stops: dialogues by why they ended.
        repairs: utterances by what was cut or repaired.
        problem_types: dialogues by problem type.
        strategies: supporter utterances by label; one with two labels counts for both.
        unlabelled: supporter utterances without a label.
        progress: for each sixth of a dialogue, labels as in `strategies`.
        distinct_strategies: dialogues by their number of distinct strategies; those without any
            label are left out.
        crisis: dialogues with crisis language.
    """

    dialogues: int = 0
    failed: int = 0
    empty: int = 0
    utterances_each: Counter[int] = field(default_factory=Counter)
    words: dict[Role, Counter[int]] = field(
        default_factory=lambda: {Role.SEEKER: Counter(), Role.SUPPORTER: Counter()}
    )
    characters: Counter[Role] = field(default_factory=Counter)
    stops: Counter[str] = field(default_factory=Counter)
    repairs: Counter[str] = field(default_factory=Counter)
    problem_types: Counter[str] = field(default_factory=Counter)
    strategies: Counter[Strategy] = field(default_factory=Counter)
    unlabelled: int = 0
    progress: list[Counter[Strategy]] = field(
        default_factory=lambda: [Counter() for _ in range(INTERVALS)]
    )
    distinct_strategies: Counter[int] = field(default_factory=Counter)
    crisis: int = 0

    def add(self, episode: Episode, labels: Sequence[tuple[Strategy, ...]]) -> None:
        """Count one episode; `labels` are the strategies of each of its utterances."""
        spoken = episode.utterances
        self.dialogues += 1
        self.utterances_each[len(spoken)] += 1
        self.stops[episode.stop.value] += 1
        self.problem_types[episode.scenario.problem_type] += 1
        self.crisis += any(u.crisis for u in spoken)
        for index, (utterance, strategies) in enumerate(zip(spoken, labels, strict=True)):
            self.words[utterance.role][len(utterance.text.split())] += 1
            self.characters[utterance.role] += len(utterance.text)
            self.repairs.update(utterance.repairs)
            if utterance.role == Role.SUPPORTER:
                self.unlabelled += not strategies
                self.strategies.update(strategies)
                self.progress[interval_of(index, len(spoken))].update(strategies)
        if distinct := {strategy for each in labels for strategy in each}:
            self.distinct_strategies[len(distinct)] += 1

    @property
    def utterances(self) -> int:
        """Utterances of both speakers."""
        return sum(each.total() for each in self.words.values())


def disclaimer_of(stops: Iterable[Mapping[str, int]]) -> str:
    """The disclaimer that fits dialogues that ended so: imported ones are not called generated."""
    ends = sum((Counter(each) for each in stops), Counter[str]())
    imported = ends[StopReason.RECORDED.value]
    return disclaimer_for(generated=ends.total() > imported, imported=imported > 0)


def interval_of(index: int, total: int) -> int:
    """Which sixth of the dialogue the utterance with this index (from 0, of `total`) falls in.

    Of 12 utterances the first two are in sixth 0 and the last two in sixth 5.
    """
    return index * INTERVALS // total


def shares(counts: Counter[Any]) -> dict[str, float | None]:
    """Each strategy's share of all labels, as a fraction; None where there is no label at all."""
    total = counts.total()
    return {s.value: counts[s] / total if total else None for s in Strategy}


def lengths(histogram: Counter[int]) -> Lengths:
    """Mean, standard deviation (of the population) and quantiles of a histogram."""
    n = histogram.total()
    ordered = dict(sorted(histogram.items()))
    if not n:
        return Lengths(0, None, None, None, None, None, {})
    mean = sum(value * count for value, count in ordered.items()) / n
    spread = sum(count * (value - mean) ** 2 for value, count in ordered.items()) / n
    return Lengths(
        n,
        mean,
        math.sqrt(spread),
        _quantile(ordered, n, 0.1),
        _quantile(ordered, n, 0.5),
        _quantile(ordered, n, 0.9),
        ordered,
    )


def _quantile(ordered: dict[int, int], n: int, share: float) -> float:
    """The quantile of numpy's default, `linear`, without the values themselves."""
    place = share * (n - 1)
    below = math.floor(place)
    low, high = _at(ordered, below), _at(ordered, min(below + 1, n - 1))
    return low + (high - low) * (place - below)


def _at(ordered: dict[int, int], index: int) -> int:
    """The value with this index, from 0, of all values in their order."""
    seen = 0
    for value, count in ordered.items():
        seen += count
        if seen > index:
            return value
    raise IndexError(index)
