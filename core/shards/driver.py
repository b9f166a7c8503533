"""The driver: starts shards, hands out leases, starts again what is lost, and tells what happens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from ..errors import Interrupted, RunError, WarmlineError
from .leases import Leases
from .passing import raised
from .shard import ShardTask
from .status import status_path
from .work import Fact, Made, ShardLog, Work

MAX_STARTS = 3
"""Starts of a shard one after the other in which it finishes nothing, before the run is given up."""


class Shard(Protocol):
    """The driver's end of a shard."""

    async def send(self, message: dict[str, Any]) -> None:
        """`{"lease": [units]}` or `{"stop": true}`; nothing happens if the shard is gone."""

    async def receive(self) -> dict[str, Any] | None:
        """`{"ask": units}`, `{"done": [facts]}` (with `"lines"` where the driver writes them), `{"failed": error}` or `{"ended": true}`; None once the
        shard is gone."""

    async def close(self) -> str:
        """Let it end, once it has said that it has, or is gone; how it ended."""

    async def kill(self) -> None:
        """End it at once."""


class Starter(Protocol):
    """Whoever starts shards.

    Attributes:
        same_file: a shard that is started again may go on in its file, for the one before is
            certainly gone.
    """

    same_file: bool

    async def start(self, task: ShardTask) -> Shard:
        """Start one; may wait until there is room for it, and is then cancelled if nothing is left
        to be done."""

    def default_workers(self) -> int:
        """Shards to start where nobody says how many."""

    async def end(self) -> None:
        """No shard is started any more."""


@dataclass(frozen=True, slots=True)
class ShardStarted:
    """An event: a shard was started, for the first time or again."""

    shard: int
    restarts: int


@dataclass(frozen=True, slots=True)
class ShardLost:
    """An event: a shard is gone before it was done; its lease is done again."""

    shard: int
    why: str


@dataclass(frozen=True, slots=True)
class UnitDone:
    """An event: a unit is done."""

    shard: int
    fact: Fact


ShardEvent = ShardStarted | ShardLost | UnitDone
ShardObserver = Callable[[ShardEvent], None]


class Driver:
    """Has units done by shards.

    Args:
        work: what is done.
        units: numbers of those that are missing.
        workers: shards at once.
        starter: starts them.
        file_of: the file of a shard, by its number.
        statuses: folder in which shards say how they are.
        observe: told what happens.
        proven: see `Work.do`.
        first_file: number of the first shard's file.
        keep_crashes: a bug that shows in some units is data, once another unit has shown none.
    """

    def __init__(
        self,
        work: Work,
        units: Sequence[int],
        *,
        workers: int,
        starter: Starter,
        file_of: Callable[[int], Path],
        statuses: Path,
        observe: ShardObserver,
        proven: bool = False,
        first_file: int = 0,
        keep_crashes: bool = True,
    ) -> None:
        self._work, self._starter, self._observe = work, starter, observe
        self._count = max(1, min(workers, len(units)))
        self._leases = Leases(units, self._count)
        self._file_of, self._statuses = file_of, statuses
        self._proven, self._keep_crashes = proven and keep_crashes, keep_crashes
        self._files = count(first_file)
        self._shards: dict[int, Shard] = {}
        self._waiting: dict[int, int] = {}
        self._logs: dict[int, tuple[ExitStack, ShardLog]] = {}
        self._stopping = False
        self._over = asyncio.Event()
        self._by = [0] * self._count
        self.finished = 0
        self.total = len(units)

    async def run(self, stop: asyncio.Event | None = None) -> None:
        """Do all units.

        Raises:
            Interrupted: `stop` was set before all were done; what was open is finished.
            RunError: shards are lost again and again.
            Exception: what a shard met that every other would meet.
        """
        tasks = [asyncio.create_task(self._keep(n)) for n in range(self._count)]
        stopper = asyncio.create_task(self._stop_when(stop)) if stop is not None else None
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in (*tasks, *([stopper] if stopper else [])):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            shards = list(self._shards.values())
            await asyncio.gather(*(s.kill() for s in shards), return_exceptions=True)
            for number in list(self._logs):
                self._close_log(number)
            await self._starter.end()
        if not self._leases.over:
            raise Interrupted(f"stopped with {self.finished} of {self.total} units done")

    async def _stop_when(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._stopping = True
        self._over.set()
        for shard in list(self._shards.values()):
            await shard.send({"stop": True})
        await self._answer_waiting()

    async def _keep(self, number: int) -> None:
        """Have one shard running until nothing is left."""
        restarts = fruitless = 0
        file = next(self._files)
        while not self._over.is_set():
            before = self._by[number]
            shard = await self._started(self._task(number, file, restarts))
            if shard is None:
                return
            self._shards[number] = shard
            self._observe(ShardStarted(number, restarts))
            try:
                ended = await self._serve(number, file, shard)
                self._waiting.pop(number, None)
                how = await shard.close()
            except BaseException:
                await shard.kill()
                raise
            finally:
                self._shards.pop(number, None)
                self._close_log(number)
            poisoned = self._take_back(number, file)
            if ended:
                return
            self._observe(ShardLost(number, how.partition("\n")[0]))
            fruitless = 0 if self._by[number] > before else fruitless + 1
            if fruitless >= MAX_STARTS or poisoned:
                raise self._hopeless(number, how, poisoned)
            restarts += 1
            if not self._starter.same_file:
                file = next(self._files)
            await self._answer_waiting()

    async def _started(self, task: ShardTask) -> Shard | None:
        """Start a shard; None if nothing is left to be done before there is room for it."""
        starting = asyncio.create_task(self._starter.start(task))
        over = asyncio.create_task(self._over.wait())
        taken = False
        try:
            await asyncio.wait({starting, over}, return_when=asyncio.FIRST_COMPLETED)
            taken = starting.done()
            return starting.result() if taken else None
        finally:
            over.cancel()
            if not taken:
                starting.cancel()
                (shard,) = await asyncio.gather(starting, return_exceptions=True)
                if not isinstance(shard, BaseException):  # it came into being all the same
                    await shard.kill()

    def _task(self, number: int, file: int, restarts: int) -> ShardTask:
        return ShardTask(
            work=self._work,
            number=number,
            file=self._file_of(file),
            status=status_path(self._statuses, number),
            restarts=restarts,
            proven=self._proven,
        )

    def _write(self, number: int, file: int, facts: Sequence[Fact], lines: Sequence[str]) -> None:
        """Write what a shard made that does not see the run's folder."""
        if number not in self._logs:
            stack = ExitStack()
            self._logs[number] = stack, stack.enter_context(self._work.log(self._file_of(file)))
        for fact, line in zip(facts, lines, strict=True):
            made = Made(fact.name, line, fact.end, fact.failed, fact.crashed, fact.tokens)
            self._logs[number][1].append(made)

    def _close_log(self, number: int) -> None:
        if number in self._logs:
            self._logs.pop(number)[0].close()

    async def _serve(self, number: int, file: int, shard: Shard) -> bool:
        """Answer a shard; whether it ended as it should."""
        if self._stopping:
            await shard.send({"stop": True})
        while (message := await shard.receive()) is not None:
            if "ask" in message:
                self._waiting[number] = message["ask"]
                await self._answer(number)
            facts = [Fact(*fact) for fact in message.get("done", ())]
            if lines := message.get("lines"):
                self._write(number, file, facts, lines)
            for fact in facts:
                self._done(number, fact)
            if self._leases.over:
                self._over.set()
                await self._answer_waiting()
            elif facts and number in self._waiting:
                await self._answer(number)
            if "failed" in message:
                error = raised(message["failed"], f"worker {number}")
                if isinstance(error, WarmlineError) or not self._proven:
                    raise error
                return False  # a bug that shows in some units: it is data once it is started again
            if "ended" in message:
                return True
        return False

    def _done(self, number: int, fact: Fact) -> None:
        if self._leases.done(number, fact.unit):
            self.finished += 1
            self._by[number] += 1
            self._proven = self._proven or (self._keep_crashes and not fact.crashed)
            self._observe(UnitDone(number, fact))

    async def _answer(self, number: int) -> None:
        """Answer a shard that asks for units, if there is an answer now."""
        over = self._stopping or self._leases.over
        asked, running = self._waiting[number], len(self._shards)
        units = [] if over else self._leases.take(number, asked, running)
        if (units or over) and (shard := self._shards.get(number)) is not None:
            del self._waiting[number]
            await shard.send({"lease": units})

    async def _answer_waiting(self) -> None:
        for number in list(self._waiting):
            if number in self._waiting:
                await self._answer(number)

    def _take_back(self, number: int, file: int) -> list[int]:
        """Give out again what a shard has not finished; its file says what it has."""
        units = self._leases.open(number)
        if units:
            for fact in self._work.written(self._file_of(file), units).values():
                self._done(number, fact)
            if self._leases.over:
                self._over.set()
        return self._leases.lost(number)

    def _hopeless(self, number: int, how: str, poisoned: list[int]) -> RunError:
        if poisoned:
            return RunError(
                f"units {', '.join(map(str, poisoned[:5]))} were open in every one of the last"
                f" workers that were lost; of the last one: {how}",
                hint="what is finished is kept; find what is wrong with these units first",
            )
        return RunError(
            f"worker {number} was lost {MAX_STARTS} times before it finished anything: {how}",
            hint="what is finished is kept; the same command without --workers shows the fault itself",
        )
