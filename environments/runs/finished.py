"""The finished episodes of a batch: of those in a log only the ids, how they ended, and sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from ..episodes.episode import FAILED, Episode, StopReason
from ..episodes.log import EpisodeLog
from ..episodes.sequence import Episodes
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

    Args:
        log: open.
        names: of the scenarios asked for.
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
        retry_failed: bool = False,
        prices: Mapping[str, Price] | None = None,
    ) -> None:
        self._log, self._prices = log, prices
        index, failed = log.index, StopReason.ERROR.value
        self._done = {
            name: number
            for name in names
            if (number := index.last.get(name)) is not None
            and not (retry_failed and index.stop(number) in FAILED)
        }
        self.found = Episodes.of_log(index, self._done.values())
        self.stops = Counter(index.stop(number) for number in self._done.values())
        self.proven = len(self.found) > self.stops[failed] or any(map(without_crash, self.found))
        self._before = kept_totals(index, self.found)
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
        self._done[name] = self._log.append(episode)
        self._totals.add(episode)
        self.proven = self.proven or without_crash(episode)

    def episodes(self, names: Iterable[str]) -> Sequence[Episode]:
        """The episodes of these scenarios."""
        return Episodes.of_log(self._log.index, (self._done[name] for name in names))

    def end(self) -> None:
        """The batch has ended, in whatever way: write its summary."""
        self._totals.merge(self._before or totals_of(self.found))
        write_summary(self._log.path.parent, self._totals, self._prices)
        done = Episodes.of_log(self._log.index, self._done.values())
        keep_totals(self._log.index, done, self._totals)
