"""What each shard says of itself in a small file, for whoever looks at a run from outside."""

from __future__ import annotations

import json
import os
import socket
import time
from collections import deque
from pathlib import Path
from typing import Any

from ..files import read_json, write_whole
from .work import Made

EVERY = 2.0
"""Seconds between two writings."""

SILENT_AFTER = 20.0
"""Seconds after which a shard that says nothing is taken for lost."""

AT_WORK = frozenset({"starting", "running"})
"""States of a shard that may still write."""

RATE_WINDOW = 30.0
"""Seconds over which tokens a second are averaged."""

RATE_PARTS = 120
"""Parts of that time whose tokens are summed up."""


def status_path(folder: Path, shard: int) -> Path:
    """Where a shard of a run says how it is."""
    return folder / f"{shard:04d}.json"


class Rate:
    """Tokens a second over the last `RATE_WINDOW` seconds; it keeps no more than `RATE_PARTS` sums."""

    def __init__(self) -> None:
        self._recent: deque[list[float]] = deque()
        self._sum = 0.0

    def add(self, tokens: int) -> None:
        """Count tokens that came now."""
        now = time.monotonic()
        self._sum += tokens
        if self._recent and now - self._recent[-1][0] < RATE_WINDOW / RATE_PARTS:
            self._recent[-1][1] += tokens
            return
        self._recent.append([now, tokens])
        self._forget(now)

    def value(self) -> float:
        """Tokens a second."""
        now = time.monotonic()
        self._forget(now)
        span = now - self._recent[0][0] if self._recent else 0.0
        return self._sum / span if span > 1 else 0.0

    def _forget(self, now: float) -> None:
        while self._recent and now - self._recent[0][0] > RATE_WINDOW:
            self._sum -= self._recent.popleft()[1]


class ShardStatus:
    """Counts what a shard does, and writes it.

    Args:
        path: of the file; None counts only.
        shard: its number.
        restarts: how often it was started again.
    """

    def __init__(self, path: Path | None, shard: int, restarts: int = 0) -> None:
        self._path = path
        self._rate = Rate()
        self._said: dict[str, Any] = {
            "shard": shard,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "job": os.environ.get("SLURM_JOB_ID"),
            "restarts": restarts,
            "started": time.time(),
            "state": "starting",
            "open": 0,
            "done": 0,
            "failed": 0,
            "tokens": 0,
        }

    def began(self) -> None:
        """A unit was begun."""
        self._said["open"] += 1

    def ended(self, made: Made) -> None:
        """A unit ended."""
        self._said["open"] -= 1
        self._said["done"] += 1
        self._said["failed"] += made.failed
        self._said["tokens"] += made.tokens
        self._rate.add(made.tokens)

    def write(self, state: str) -> None:
        """Say how it is: `starting`, `running`, `ended`, `stopped` or `failed`."""
        self._said |= {
            "state": state,
            "updated": time.time(),
            "tokens_per_second": round(self._rate.value(), 1),
        }
        if self._path is not None:
            write_whole(self._path, json.dumps(self._said) + "\n")


def read_statuses(folder: Path) -> list[dict[str, Any]]:
    """What the shards of a run last said, by their numbers.

    Raises:
        DataError: a file that cannot be read.
    """
    found = [read_json(file) for file in sorted(folder.glob("[0-9]*.json"))]
    return [said for said in found if isinstance(said, dict) and "shard" in said]


def shown_state(said: dict[str, Any], now: float) -> str:
    """A shard's state; `silent` where it should be at work and has said nothing for a while."""
    state = str(said["state"])
    silent = now - said["updated"] > SILENT_AFTER
    return "silent" if silent and state in AT_WORK else state


def is_lost(file: Path) -> bool:
    """Whether the shard that says in a file how it is has ended, failed, or fallen silent; False
    where there is no file.

    Raises:
        DataError: the file cannot be read.
    """
    return file.exists() and shown_state(read_json(file), time.time()) not in AT_WORK


def at_work(folder: Path) -> list[int]:
    """The numbers of the shards that are at work, as far as what they say tells."""
    now = time.time()
    return [said["shard"] for said in read_statuses(folder) if shown_state(said, now) in AT_WORK]
