"""What a shard does: independent units, each with an id, each giving one line of JSON.

A shard is one process with an event loop, engines and connections of its own, and a file of its own.
Units are numbered from 0; `Work` is pickled, so it holds what describes the work, and makes engines
and connections when it is opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol


@dataclass(frozen=True, slots=True)
class Made:
    """What came of a unit.

    Attributes:
        name: the unit's id.
        line: the JSON text to be written, without a line break.
        end: how it ended, in a word, for counting.
        failed: whether it ended in an error that it holds as data.
        crashed: whether that was something raised unexpectedly.
        tokens: completion tokens that it took.
        value: what `line` was made of, for `ShardLog.append` in the same process.
    """

    name: str
    line: str
    end: str = "done"
    failed: bool = False
    crashed: bool = False
    tokens: int = 0
    value: Any = None


class Fact(NamedTuple):
    """What the driver is told of a unit that a shard has finished; fields as in `Made`."""

    unit: int
    name: str
    end: str
    failed: bool
    crashed: bool
    tokens: int


class ShardLog(Protocol):
    """A shard's open file."""

    def append(self, made: Made) -> None:
        """Write what came of one unit.

        Raises:
            RunError: the disk is full or fails; the file is left as it was before the call.
        """


class Work(Protocol):
    """What all shards of a run do. It is pickled to each of them."""

    async def open(self, stop: asyncio.Event) -> int:
        """Make engines and connections; how many units are worth having open at once.

        Args:
            stop: set once no new unit is to begin; a long unit may then raise `Interrupted`.
        """

    async def do(self, unit: int, proven: Callable[[], bool]) -> Made:
        """Do one unit.

        Args:
            proven: whether some unit has ended without anything raised unexpectedly; until then
                such an error is raised, and stops the run.

        Raises:
            WarmlineError: one that every other unit would meet too.
            Exception: a bug, where nothing is proven.
        """

    async def close(self) -> None:
        """Close what `open` made."""

    def log(self, path: Path) -> AbstractContextManager[ShardLog]:
        """A shard's file, to be opened for appending."""

    def written(self, path: Path, units: Sequence[int]) -> Mapping[int, Fact]:
        """Those of some units that a shard's file holds, whose worker was lost."""
