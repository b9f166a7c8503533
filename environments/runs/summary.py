"""What a run came to: sums over its episodes, taken as they end, and written as `summary.json`.

No episode is held. Those found finished by a later start are read once more at its end, unless the
sums of the last start are kept beside the log and are about the same episodes.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from ...core.files import write_whole
from ...policies.endpoints.notes import endpoint_of
from ..episodes.derived import WORTH_KEEPING, keep_derived, read_derived
from ..episodes.episode import Call, Episode
from ..episodes.index import LogIndex
from ..episodes.sequence import Episodes
from ..episodes.server_notes import NOTED, noted
from ..episodes.usage import Price, UsageCounter

SUMMARY_NAME = "summary.json"
TOTALS = "totals"


class Totals:
    """Sums over episodes: ends, lengths, strategies, repairs, and usage by role."""

    def __init__(self) -> None:
        self._sums: Counter[str] = Counter()
        self._seconds = 0.0
        self._counts: dict[str, Counter[str]] = {
            name: Counter() for name in ("stop", "errors", "strategies", "repairs")
        }
        self._noted: dict[str, Counter[str]] = {name: Counter() for name in NOTED}
        self._usage = UsageCounter()
        self._endpoints = UsageCounter(_endpoint)

    def add(self, episode: Episode) -> None:
        """Count one episode."""
        said, sums, counts = episode.utterances, self._sums, self._counts
        sums["episodes"] += 1
        sums["utterances"] += len(said)
        sums["crisis"] += any(u.crisis for u in said)
        sums["unread"] += sum(verdict.end is None for verdict in episode.verdicts)
        self._seconds += episode.timing.seconds if episode.timing else 0.0
        counts["stop"][episode.stop.value] += 1
        counts["repairs"].update(repair for u in said for repair in u.repairs)
        counts["strategies"].update(u.strategy.value for u in said if u.strategy)
        if episode.error:
            counts["errors"][episode.error.type] += 1
        for name, what in noted(episode):
            self._noted[name][what] += 1
        self._usage.add(episode)
        self._endpoints.add(episode)

    def merge(self, other: Totals) -> None:
        """Add the sums of other episodes."""
        self._sums.update(other._sums)
        self._seconds += other._seconds
        for name, counts in other._counts.items():
            self._counts[name].update(counts)
        for name, counts in other._noted.items():
            self._noted[name].update(counts)
        self._usage.merge(other._usage)
        self._endpoints.merge(other._endpoints)

    def summary(self, prices: Mapping[str, Price] | None = None) -> dict[str, Any]:
        """As in `summary.json`."""
        sums, count = self._sums, self._sums["episodes"]
        endpoints = self._endpoints.result(prices)
        del endpoints["total"]  # no more than the part of the usage that servers of a pool had
        return {
            "episodes": count,
            "utterances": sums["utterances"],
            "utterances_per_episode": round(sums["utterances"] / count, 2) if count else None,
            **{name: dict(counts.most_common()) for name, counts in self._counts.items()},
            "episodes_with_crisis_language": sums["crisis"],
            "unreadable_verdicts": sums["unread"],
            **{name: dict(counts.most_common()) for name, counts in self._noted.items() if counts},
            "episode_seconds": round(self._seconds, 2),
            "usage": self._usage.result(prices),
            **({"endpoints": endpoints} if endpoints else {}),
        }

    def as_data(self) -> dict[str, Any]:
        """The sums as plain data, for `from_data`."""
        return {
            "sums": self._sums,
            "seconds": self._seconds,
            "counts": self._counts,
            "noted": self._noted,
            "usage": self._usage.as_data(),
            "endpoints": self._endpoints.as_data(),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """The sums that `as_data` describes."""
        made = cls()
        made._sums.update(data["sums"])
        made._seconds = data["seconds"]
        for name, counts in data["counts"].items():
            made._counts[name].update(counts)
        for name, counts in data["noted"].items():
            made._noted[name].update(counts)
        made._usage = UsageCounter.from_data(data["usage"])
        # sums of an earlier version have none, nor had their calls
        made._endpoints = UsageCounter.from_data(data.get("endpoints", []), _endpoint)
        return made


def _endpoint(call: Call) -> str | None:
    return endpoint_of(call.notes)


def summarize(
    episodes: Iterable[Episode], prices: Mapping[str, Price] | None = None
) -> dict[str, Any]:
    """Counts over episodes: ends, lengths, strategies, caps, and usage by role.

    Args:
        episodes: read once, so a stream will do.
        prices: see `account`.
    """
    return totals_of(episodes).summary(prices)


def write_summary(folder: Path, totals: Totals, prices: Mapping[str, Price] | None = None) -> None:
    """Write `summary.json`."""
    text = json.dumps(totals.summary(prices), indent=2, ensure_ascii=False)
    write_whole(folder / SUMMARY_NAME, text + "\n")


def totals_of(episodes: Iterable[Episode]) -> Totals:
    """The sums over episodes, read once; those of a log in its order."""
    totals = Totals()
    for episode in episodes.in_log_order() if isinstance(episodes, Episodes) else episodes:
        totals.add(episode)
    return totals


def kept_totals(log: LogIndex, episodes: Episodes) -> Totals | None:
    """The sums over last attempts in a log, if they are kept beside it."""
    if len(episodes) < WORTH_KEEPING or log.signature is None:
        return None
    kept = read_derived(log.path, TOTALS, log.signature)
    try:
        if kept is not None and kept["of"] == _digest(episodes.ids):
            return Totals.from_data(kept["totals"])
    except (KeyError, TypeError, ValueError):
        pass  # another version wrote it: the episodes are read
    return None


def keep_totals(log: LogIndex, episodes: Episodes, totals: Totals) -> None:
    """Keep the sums over last attempts beside their log, where that is worth it."""
    signature = log.signature
    if len(episodes) >= WORTH_KEEPING and signature is not None and signature.settle():
        data = {"of": _digest(episodes.ids), "totals": totals.as_data()}
        keep_derived(log.path, TOTALS, signature, data)


def _digest(ids: list[str]) -> str:
    return hashlib.sha256("\n".join(sorted(ids)).encode()).hexdigest()
