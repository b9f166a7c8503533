"""One shard: takes leases, does their units many at once, and writes what comes of them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import Interrupted, InUse, WarmlineError
from .status import EVERY, ShardStatus
from .work import Made, ShardLog, Work

LEAVE_WAIT = 15.0
"""Seconds for which a shard waits for the process that had its file before."""


@dataclass(frozen=True, slots=True)
class ShardTask:
    """What a shard is started with.

    Attributes:
        work: what it does.
        number: of the shard, from 0.
        file: its own file; None where what it makes goes through the driver.
        status: where it says how it is; None where nobody could read it.
        restarts: how often it was started before.
        proven: see `Work.do`.
    """

    work: Work
    number: int
    file: Path | None
    status: Path | None = None
    restarts: int = 0
    proven: bool = False


class Channel(Protocol):
    """A shard's end of its connection with whoever hands out the units.

    Attributes:
        stopping: set once no new unit is to begin.
    """

    stopping: asyncio.Event

    async def lease(self, wanted: int) -> Sequence[int]:
        """Some units; none once all are done, or the run stops."""

    def done(self, unit: int, made: Made) -> None:
        """A unit is finished, and written where the shard has a file."""


class _Units:
    """The units of the leases, one after the other."""

    def __init__(self, channel: Channel, wanted: int) -> None:
        self._channel, self._wanted = channel, wanted
        self._held: deque[int] = deque()
        self._asking = asyncio.Lock()
        self._over = False

    async def next(self) -> int | None:
        """The next unit; None if there is none any more."""
        async with self._asking:
            if not self._held and not self._over and not self._channel.stopping.is_set():
                self._held.extend(await self._channel.lease(self._wanted))
                self._over = not self._held
            if self._over or self._channel.stopping.is_set():
                return None
            return self._held.popleft()


async def run_shard(task: ShardTask, channel: Channel) -> None:
    """Do units until none is left.

    Raises:
        Exception: what stops the run; units in flight are cancelled.
    """
    status = ShardStatus(task.status, task.number, task.restarts)
    status.write("starting")
    state = "failed"
    try:
        with ExitStack() as stack:
            with _starting(status):
                log = await _opened(task.work, task.file, stack) if task.file else None
                at_once = await task.work.open(channel.stopping)
            await _play(task, channel, log, status, at_once)
        state = "stopped" if channel.stopping.is_set() else "ended"
    finally:
        with suppress(WarmlineError):  # of a full disk the log has told already
            status.write(state)


async def _opened(work: Work, file: Path, stack: ExitStack) -> ShardLog:
    """A shard's file. The process of a driver that was killed may be about to leave it."""
    until = time.monotonic() + LEAVE_WAIT
    while True:
        try:
            return stack.enter_context(work.log(file))
        except InUse:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0.1)


async def _play(
    task: ShardTask, channel: Channel, log: ShardLog | None, status: ShardStatus, at_once: int
) -> None:
    proven = task.proven

    def is_proven() -> bool:
        return proven

    async def take() -> None:
        nonlocal proven
        while (unit := await units.next()) is not None:
            status.began()
            try:
                made = await task.work.do(unit, is_proven)
            except Interrupted:
                if channel.stopping.is_set():
                    return  # it is left for another time
                raise
            if log is not None:
                log.append(made)
            proven = proven or not made.crashed
            status.ended(made)
            channel.done(unit, made)
            await asyncio.sleep(0)  # work that never waits must not starve the loop

    try:
        units = _Units(channel, at_once)
        tasks = [asyncio.create_task(take()) for _ in range(at_once)]
        with _telling(status):
            try:
                await asyncio.gather(*tasks)
            finally:
                for each in tasks:
                    each.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        await task.work.close()


@contextmanager
def _starting(status: ShardStatus) -> Iterator[None]:
    """Say every few seconds that the shard is starting, while an engine may hold the event loop."""
    over = threading.Event()

    def tell() -> None:
        while not over.wait(EVERY):
            with suppress(WarmlineError):  # a status that cannot be written stops no work
                status.write("starting")

    telling = threading.Thread(target=tell, name="warmline-starting", daemon=True)
    telling.start()
    try:
        yield
    finally:
        over.set()
        telling.join()


@contextmanager
def _telling(status: ShardStatus) -> Iterator[None]:
    """Say every few seconds how the shard is."""

    async def tell() -> None:
        while True:
            with suppress(WarmlineError):  # a status that cannot be written stops no work
                status.write("running")
            await asyncio.sleep(EVERY)

    telling = asyncio.create_task(tell())
    try:
        yield
    finally:
        telling.cancel()
