"""A command's own work in parts: a worker does one part, and writes files of that part's own.

Each part asks for its items as the command itself would (see `division`); that it is finished is a
line in its worker's file. A part that is done again finds in its files what it has.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from ..errors import ConfigError, Interrupted, InUse
from ..jsonl import LineLog, complete_objects
from .shard import LEAVE_WAIT
from .work import Fact, Made


class DoPart(Protocol):
    """Does one part of a command's work. It is pickled to the workers."""

    async def __call__(self, part: str, stop: asyncio.Event) -> Any:
        """Do it.

        Args:
            part: such as 3/8.
            stop: once set, nothing more is asked.

        Raises:
            Interrupted: `stop` was set.
        """


class PartsWork:
    """The parts of a command's work, as units; see `work.Work`.

    Args:
        do: does one.
        parts: how many there are.
        folder: that every worker must see, for all of them write there.
    """

    def __init__(self, do: DoPart, parts: int, folder: Path) -> None:
        self._do, self._parts = do, parts
        self._folder, self._start = folder.absolute(), Path.cwd()
        self._stop: asyncio.Event | None = None

    def name(self, unit: int) -> str:
        """The part that a unit is."""
        return f"{unit + 1}/{self._parts}"

    async def open(self, stop: asyncio.Event) -> int:
        """Stand where the command was given, for its paths; one part at once.

        Raises:
            ConfigError: this worker does not see the folders.
        """
        self._stop = stop
        for folder in (self._start, self._folder):
            if not folder.is_dir():
                raise ConfigError(
                    f"a worker does not see {folder}",
                    hint="parts of this work are written side by side: start it in, and name with"
                    " --out, folders that all nodes share",
                )
        os.chdir(self._start)
        return 1

    async def do(self, unit: int, proven: Callable[[], bool]) -> Made:
        """Do one part. Who had it before, and was lost, may be about to leave its files."""
        assert self._stop is not None
        until = time.monotonic() + LEAVE_WAIT
        while True:
            try:
                await self._do(self.name(unit), self._stop)
            except InUse:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.1)
            else:
                break
        name = self.name(unit)
        return Made(name=name, line=json.dumps({"part": name}))

    async def close(self) -> None:
        """Nothing is left open."""

    @contextmanager
    def log(self, path: Path) -> Iterator[FinishedParts]:
        """The file of a worker's finished parts."""
        with LineLog(path) as lines:
            yield FinishedParts(lines)

    def written(self, path: Path, units: Sequence[int]) -> Mapping[int, Fact]:
        """The parts that a worker's file holds."""
        if not path.is_file():
            return {}
        there = {line.get("part") for _, line in complete_objects(path)}
        return {
            unit: Fact(unit, self.name(unit), "done", False, False, 0)
            for unit in units
            if self.name(unit) in there
        }


class FinishedParts:
    """A worker's open file of the parts that it finished."""

    def __init__(self, lines: LineLog) -> None:
        self._lines = lines

    def append(self, made: Made) -> None:
        """Write one."""
        self._lines.write_line(made.line, f"part {made.name}")


class InThread:
    """A part that is done by a function that waits: in a thread of its own, which an interrupt
    leaves to itself.

    Args:
        do: given the part.
    """

    def __init__(self, do: Callable[[str], Any]) -> None:
        self._do = do

    async def __call__(self, part: str, stop: asyncio.Event) -> None:
        """Do it; see `DoPart`."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def tell(error: BaseException | None) -> None:
            if not ended.done():
                ended.set_exception(error) if error else ended.set_result(None)

        def work() -> None:
            error: BaseException | None = None
            try:
                self._do(part)
            except BaseException as raised:  # noqa: BLE001 - handed to the worker's loop
                error = raised
            loop.call_soon_threadsafe(tell, error)

        threading.Thread(target=work, name=f"part {part}", daemon=True).start()
        stopped: asyncio.Future[Any] = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                raise Interrupted(f"part {part} was stopped")
            ended.result()
        finally:
            stopped.cancel()
