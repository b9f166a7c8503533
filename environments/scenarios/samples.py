"""Scenarios of a pool, each perhaps several times, as a sequence that makes them when asked for."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from .scenario import Scenario, sample_id


class Samples(Sequence[Scenario]):
    """Conversations about the scenarios of a pool; a million take 16 bytes each.

    Args:
        pool: the scenarios.
        chosen: for each conversation the place of its scenario in the pool, and its number among
            those about it, from 1; see `Scenario.sample`.
    """

    def __init__(self, pool: Sequence[Scenario], chosen: Iterable[tuple[int, int]]) -> None:
        self._pool = pool
        self._places, self._numbers = array("Q"), array("Q")
        for place, number in chosen:
            self._places.append(place)
            self._numbers.append(number)

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Scenario: ...
    @overload
    def __getitem__(self, index: slice) -> list[Scenario]: ...

    def __getitem__(self, index: int | slice) -> Scenario | list[Scenario]:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        return self._pool[self._places[index]].sample(self._numbers[index])

    def id_at(self, index: int) -> str:
        """The id of a conversation's scenario, which is not made for it."""
        pool, place, number = self._pool, self._places[index], self._numbers[index]
        name = pool.id_at(place) if isinstance(pool, Samples) else pool[place].id
        return sample_id(name, number)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} scenarios>"


class Names(Sequence[str]):
    """The ids of scenarios, each made when it is asked for."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[n] for n in range(*index.indices(len(self)))]
        return self._samples.id_at(index)

    def __iter__(self) -> Iterator[str]:
        return map(self._samples.id_at, range(len(self)))


def ids_of(scenarios: Sequence[Scenario]) -> Sequence[str]:
    """The ids of scenarios, in their order."""
    if isinstance(scenarios, Samples):
        return Names(scenarios)
    return [scenario.id for scenario in scenarios]
