"""The finished episodes of a batch: of those in a log only the ids, how they ended, and sums."""

from __future__ import annotations

import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..episodes.episode import FAILED, Episode, StopReason
from ..episodes.index import LogIndex
from ..episodes.log import EpisodeLog
from ..episodes.sequence import Episodes, counted_records, placed
from ..episodes.usage import Price
from .summary import Totals, keep_totals, kept_totals, totals_of, write_summary


def without_crash(episode: Episode) -> bool:
    """Whether an episode ended without anything raised unexpectedly."""
    return episode.error is None or episode.error.traceback is None


class FinishedInMemory:
    """The finished episodes of a batch that has no folder."""

    def __init__(self) -> None:
        self._done: dict[str, Episode] = {}
        self.proven = False

    def __len__(self) -> int:
        return len(self._done)

    def __contains__(self, name: object) -> bool:
        return name in self._done

    def add(self, name: str, episode: Episode) -> None:
        """Take in the episode of a scenario."""
        self._done[name] = episode
        self.proven = self.proven or without_crash(episode)

    def episodes(self, names: Iterable[str]) -> Sequence[Episode]:
        """The episodes of these scenarios."""
        return [self._done[name] for name in names]

    def end(self) -> None:
        """The batch has ended, in whatever way."""


class FinishedInLog:
    """The finished episodes of a batch that has a folder; the summary is written there at the end.

    Those in the logs of workers that played there before count too.

    Args:
        log: open.
        names: of the scenarios asked for.
        others: indices of the folder's other logs.
        retry_failed: those that ended in an error do not count.
        prices: see `account`.

    Attributes:
        proven: an episode has ended without anything raised unexpectedly.
        found: those that were finished before.
    """

    def __init__(
        self,
        log: EpisodeLog,
        names: Iterable[str],
        *,
        others: Sequence[LogIndex] = (),
        retry_failed: bool = False,
        prices: Mapping[str, Price] | None = None,
    ) -> None:
        self._log, self._prices = log, prices
        self._logs = (*others, log.index)
        self._done = finished_records(self._logs, names, retry_failed=retry_failed)
        self.found = Episodes.of_places(self._logs, self._done.values())
        self.stops = Counter(self.found.stops)
        failed = StopReason.ERROR.value
        self.proven = len(self.found) > self.stops[failed] or any(map(without_crash, self.found))
        *self._elsewhere, (_, here) = self.found.by_log()
        self._before, self._found_here = kept_totals(log.index, here), here
        self._totals = Totals()

    def __len__(self) -> int:
        return len(self._done)

    def __contains__(self, name: object) -> bool:
        return name in self._done

    def add(self, name: str, episode: Episode) -> None:
        """Write the episode of a scenario to the log.

        Raises:
            RunError: the disk is full or fails.
        """
        self._done[name] = (self._log.append(episode) + 1) * len(self._logs) - 1
        self._totals.add(episode)
        self.proven = self.proven or without_crash(episode)

    def episodes(self, names: Iterable[str]) -> Sequence[Episode]:
        """The episodes of these scenarios."""
        return Episodes.of_places(self._logs, [self._done[name] for name in names])

    def end(self) -> None:
        """The batch has ended, in whatever way: write its summary."""
        self._totals.merge(self._before or totals_of(self._found_here))
        *_, (_, here) = Episodes.of_places(self._logs, self._done.values()).by_log()
        keep_totals(self._log.index, here, self._totals)
        for log, episodes in self._elsewhere:
            self._totals.merge(kept_totals(log, episodes) or totals_of(episodes))
        write_summary(self._log.path.parent, self._totals, self._prices)


def finished_records(
    logs: Sequence[LogIndex], names: Iterable[str], *, retry_failed: bool = False
) -> dict[str, int]:
    """By id the places of the records that some scenarios have already; see `counted_records`.

    Args:
        retry_failed: those that ended in an error do not count.
    """
    places = _places(logs, names, retry_failed)
    return {sys.intern(name): place for _, name, place in places if place is not None}


def missing_and_finished(
    logs: Sequence[LogIndex], names: Iterable[str], *, retry_failed: bool = False
) -> tuple[array[int], array[int]]:
    """The places in `names` of scenarios without a record, and the records' places of the others.

    They take 8 bytes each, however many there are; see `finished_records`.
    """
    missing, finished = array("Q"), array("Q")
    for number, _, place in _places(logs, names, retry_failed):
        if place is None:
            missing.append(number)
        else:
            finished.append(place)
    return missing, finished


def _places(
    logs: Sequence[LogIndex], names: Iterable[str], retry_failed: bool
) -> Iterator[tuple[int, str, int | None]]:
    counted = counted_records(logs)
    for number, name in enumerate(names):
        place = counted.get(name)
        again = retry_failed and place is not None and _failed(logs, place)
        yield number, name, None if again else place


def _failed(logs: Sequence[LogIndex], place: int) -> bool:
    log, number = placed(logs, place)
    return log.stop(number) in FAILED
