"""Episodes of logs as a sequence that reads a record when it is asked for."""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import IO, Self, overload

from .episode import FAILED, Episode
from .html import SHOWN, conversations_html
from .index import LogIndex


def ids_of(episodes: Sequence[Episode]) -> list[str]:
    """The ids of episodes, without reading the records where they are in a log."""
    if isinstance(episodes, Episodes):
        return episodes.ids
    return [episode.id for episode in episodes]


def take(episodes: Sequence[Episode], numbers: Iterable[int]) -> Sequence[Episode]:
    """The episodes at these places, without reading the records where they are in a log."""
    if isinstance(episodes, Episodes):
        return episodes.take(numbers)
    return [episodes[n] for n in numbers]


def counted_records(logs: Sequence[LogIndex]) -> Mapping[str, int]:
    """By id the record that counts among all attempts in several logs, in the order of the first ones.

    In each log the last attempt counts; of several logs one that did not fail, and among equals that
    in the last log. So an episode is never read twice, though a worker was lost between writing it
    and saying so.

    Returns:
        Places: `number * len(logs) + log`, both from 0; see `placed`.
    """
    if len(logs) == 1:
        return logs[0].last
    found: dict[str, int] = {}
    for at, log in enumerate(logs):
        for name, number in log.last.items():
            before = found.get(name)
            if before is None or not _failed(log, number) or _failed(*placed(logs, before)):
                found[name] = number * len(logs) + at
    return found


def placed(logs: Sequence[LogIndex], place: int) -> tuple[LogIndex, int]:
    """The log and the number of a record, from its place."""
    number, at = divmod(place, len(logs))
    return logs[at], number


def _failed(log: LogIndex, number: int) -> bool:
    return log.stop(number) in FAILED


class Episodes(Sequence[Episode]):
    """Episodes in logs: `len`, iteration, indexing, slices and comparison as of a list.

    A record is read when it is asked for, so a million episodes take 16 bytes each, beside the
    logs' indices. What is appended to the logs later is not in it.

    Raises:
        DataError: (when a record is read) it is no episode, or its log was changed meanwhile.
    """

    def __init__(
        self, logs: Sequence[LogIndex], files: Iterable[int], numbers: Iterable[int]
    ) -> None:
        self._logs = tuple(logs)
        self._files = array("Q", files)
        self._numbers = array("Q", numbers)

    @classmethod
    def of_log(cls, log: LogIndex, numbers: Iterable[int]) -> Self:
        """The records of one log that have these numbers."""
        chosen = array("Q", numbers)
        return cls((log,), (0 for _ in chosen), chosen)

    @classmethod
    def of_files(cls, files: Sequence[Path]) -> Self:
        """Each id once, the attempt that counts, in the order of the first ones.

        Raises:
            DataError: a line that is not an episode; names file, line and field.
        """
        logs = [LogIndex.of(file) for file in files]
        return cls.of_places(logs, counted_records(logs).values())

    @classmethod
    def of_places(cls, logs: Sequence[LogIndex], places: Collection[int]) -> Self:
        """The records at these places; see `counted_records`."""
        count = max(1, len(logs))
        return cls(logs, (place % count for place in places), (p // count for p in places))

    @classmethod
    def joined(cls, parts: Iterable[Episodes]) -> Self:
        """The episodes of all parts, one after the other."""
        logs: list[LogIndex] = []
        files, numbers = array("Q"), array("Q")
        for part in parts:
            files.extend(at + len(logs) for at in part._files)
            numbers.extend(part._numbers)
            logs += part._logs
        return cls(logs, files, numbers)

    def __add__(self, other: Sequence[Episode]) -> Sequence[Episode]:
        """Both, one after the other; with another `Episodes` without reading the records."""
        if isinstance(other, Episodes):
            return self.joined([self, other])
        return [*self, *other] if isinstance(other, list) else NotImplemented

    def __radd__(self, other: list[Episode]) -> list[Episode]:
        return [*other, *self] if isinstance(other, list) else NotImplemented

    @property
    def ids(self) -> list[str]:
        """Their ids, without reading the records."""
        return [self._logs[at].ids[n] for at, n in self._places()]

    @property
    def stops(self) -> list[str]:
        """How they ended, as `Episode.stop` says it, without reading the records."""
        return [self._logs[at].stop(n) for at, n in self._places()]

    def chosen(self, names: Iterable[str]) -> Self:
        """Those with these ids, in the order of the ids, without reading the records."""
        places = self._by_id()
        return self.take(places[name] for name in names if name in places)

    def ordered(self, names: Iterable[str]) -> Self:
        """All of them, those with these ids first, in the order of the ids."""
        places = self._by_id()
        first = array("Q", (places.pop(name) for name in names if name in places))
        return self.take(chain(first, places.values()))

    def _by_id(self) -> dict[str, int]:
        return {self._logs[at].ids[n]: place for place, (at, n) in enumerate(self._places())}

    def places(self) -> Iterator[tuple[LogIndex, int]]:
        """The log and the number of each one's record."""
        return ((self._logs[at], number) for at, number in self._places())

    def by_log(self) -> Iterator[tuple[LogIndex, Self]]:
        """Each log with those of its records that are in it, in their order here."""
        for at, log in enumerate(self._logs):
            yield log, self.of_log(log, (n for here, n in self._places() if here == at))

    def in_log_order(self) -> Self:
        """The same in the order in which they stand in the logs."""
        return self._at(sorted(self._places()))

    def take(self, numbers: Iterable[int]) -> Self:
        """Those at these places in the sequence."""
        chosen = array("Q", numbers)
        return type(self)(
            self._logs, (self._files[n] for n in chosen), (self._numbers[n] for n in chosen)
        )

    def _at(self, places: Collection[tuple[int, int]]) -> Self:
        return type(self)(self._logs, (at for at, _ in places), (n for _, n in places))

    def _places(self) -> Iterator[tuple[int, int]]:
        return zip(self._files, self._numbers, strict=True)

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Episode: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...

    def __getitem__(self, index: int | slice) -> Episode | Self:
        if isinstance(index, slice):
            return type(self)(self._logs, self._files[index], self._numbers[index])
        return self._logs[self._files[index]].read(self._numbers[index])

    def __iter__(self) -> Iterator[Episode]:
        with ExitStack() as stack:
            opened: dict[int, IO[bytes]] = {}
            for at, number in self._places():
                if at not in opened:
                    opened[at] = stack.enter_context(self._logs[at].opened())
                yield self._logs[at].read(number, opened[at])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        return len(self) == len(other) and all(
            mine == theirs for mine, theirs in zip(self, other, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        logs = ", ".join(str(log.path) for log in self._logs)
        return f"<{len(self)} episodes of {logs or 'no log'}>"

    def _repr_html_(self) -> str:
        """The first of them as a notebook shows them; no other record is read."""
        return conversations_html(list(self[:SHOWN]), len(self), self.stops)
