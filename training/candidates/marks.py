"""Judgements of many candidates in little memory: some bytes each, those of a context together."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from statistics import fmean
from typing import Final

from ...environments.episodes.rating import Rating

Marks = Mapping[str, bool | None]
"""By dimension whether it holds; None where nobody said."""
Key = tuple[str, int | None, str]
"""Episode, utterance and candidate."""

_ABSENT: Final = inf
_NO_VALUE: Final = -inf
"""In place of a mean: the candidate was not rated at all, or not on this dimension."""


class _ByCandidate:
    """Numbers for each candidate, those of one context in one array.

    Args:
        width: numbers of a candidate.
        kind: type code of the arrays.
        fill: what stands where nothing was put in.
    """

    def __init__(self, width: int, kind: str, fill: float) -> None:
        self._width, self._kind, self._fill = width, kind, fill
        self._contexts: dict[tuple[str, int | None], array[float]] = {}
        self._columns: dict[str, int] = {}

    def of(self, key: Key) -> Sequence[float] | None:
        """The numbers of a candidate; None beyond all that were put in."""
        episode, utterance, candidate = key
        row, column = self._contexts.get((episode, utterance)), self._columns.get(candidate)
        if row is None or column is None or column * self._width >= len(row):
            return None
        return row[column * self._width : (column + 1) * self._width]

    def place(self, key: Key) -> tuple[array[float], int]:
        """Where the numbers of a candidate are put, and from which place on."""
        episode, utterance, candidate = key
        column = self._columns.setdefault(sys.intern(candidate), len(self._columns))
        if (row := self._contexts.get((episode, utterance))) is None:
            row = self._contexts[sys.intern(episode), utterance] = array(self._kind)
        start = column * self._width
        row.extend([self._fill] * (start + self._width - len(row)))
        return row, start

    def __iter__(self) -> Iterator[Key]:
        """The candidates that have a place."""
        for (episode, utterance), row in self._contexts.items():
            for candidate, column in self._columns.items():
                if column * self._width < len(row):
                    yield episode, utterance, candidate


class KeptMarks(Mapping[Key, Marks]):
    """What ratings say of candidates: a dimension holds if its mean reaches a threshold.

    Args:
        dimensions: those that count.
        threshold: on the raters' scale.
    """

    def __init__(self, dimensions: Sequence[str], threshold: float) -> None:
        self._names = {name: number for number, name in enumerate(dict.fromkeys(dimensions))}
        self._threshold = threshold
        self._means = _ByCandidate(len(self._names), "d", _ABSENT)
        self._several: dict[tuple[Key, int], list[float]] = {}
        self._count = 0

    def add(self, rating: Rating) -> None:
        """Take in one rating; one of another dimension does not count."""
        if (number := self._names.get(rating.dimension)) is None:
            return
        key = (rating.episode, rating.utterance, rating.candidate)
        row, start = self._means.place(key)
        if row[start] == _ABSENT:
            row[start : start + len(self._names)] = array("d", [_NO_VALUE] * len(self._names))
            self._count += 1
        if rating.value is None:
            return
        cell = start + number
        if row[cell] == _NO_VALUE:
            row[cell] = rating.value
        else:
            values = self._several.setdefault((key, number), [row[cell]])
            values.append(rating.value)
            row[cell] = fmean(values)

    def __getitem__(self, key: Key) -> dict[str, bool | None]:
        means = self._means.of(key)
        if means is None or means[0] == _ABSENT:
            raise KeyError(key)
        return {
            name: None if mean == _NO_VALUE else mean >= self._threshold
            for name, mean in zip(self._names, means, strict=True)
        }

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Key]:
        return (key for key in self._means if key in self)


class CountedRatings:
    """How many ratings of one rater there are of each candidate."""

    def __init__(self, rater: str, ratings: Iterable[Rating] = ()) -> None:
        self._rater = rater
        self._counts = _ByCandidate(1, "L", 0)
        for rating in ratings:
            self.add(rating)

    def add(self, rating: Rating) -> None:
        """Take in one rating; one of another rater does not count."""
        if rating.rater == self._rater:
            row, place = self._counts.place((rating.episode, rating.utterance, rating.candidate))
            row[place] += 1

    def __getitem__(self, key: Key) -> int:
        counts = self._counts.of(key)
        return 0 if counts is None else int(counts[0])


class KnownRatings:
    """Which ratings there are: by candidate, rater, dimension and sample, in one byte each."""

    def __init__(self) -> None:
        self._known = _ByCandidate(1, "B", 0)

    def add(self, rating: Rating) -> bool:
        """Take in one rating; whether it is new."""
        what = repr((rating.candidate, rating.rater, rating.dimension, rating.sample))
        row, place = self._known.place((rating.episode, rating.utterance, what))
        new = not row[place]
        row[place] = 1
        return new
