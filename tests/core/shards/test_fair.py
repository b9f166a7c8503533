"""Few units are divided among the shards that run, whichever of them is ready first."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

from warmline.core.shards.driver import Driver, ShardEvent, UnitDone
from warmline.core.shards.shard import ShardTask

AT_ONCE = 8
UNITS = 8


class Player:
    """A shard that does up to `AT_ONCE` units at a time, and begins when it is told to.

    Args:
        ready: set once it may ask for units.
        full: set once it is refused, or has as many units as it wants.
    """

    def __init__(self, number: int, ready: asyncio.Event, full: asyncio.Event) -> None:
        self.number, self._ready, self._full = number, ready, full
        self._held: list[int] = []
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._asked = False

    async def send(self, message: dict[str, Any]) -> None:
        self._answers.put_nowait(message)

    async def receive(self) -> dict[str, Any] | None:
        await self._ready.wait()
        while True:
            if not self._asked and len(self._held) < AT_ONCE:
                self._asked = True
                return {"ask": AT_ONCE}
            try:
                message = await asyncio.wait_for(self._answers.get(), 0.05)
            except TimeoutError:
                self._full.set()
                if not self._held:
                    continue
                unit = self._held.pop(0)
                return {"done": [[unit, f"unit {unit}", 0, False, False, 0]]}
            self._asked = False
            if not message.get("lease"):
                return {"ended": True}
            self._held += message["lease"]

    async def close(self) -> str:
        return ""

    async def kill(self) -> None:
        pass


class Slowly:
    """Starts two shards; the second is ready once the first has taken all that it gets."""

    same_file = True

    def __init__(self) -> None:
        self._full = asyncio.Event()
        self._now = asyncio.Event()
        self._now.set()

    async def start(self, task: ShardTask) -> Player:
        if task.number == 0:
            return Player(0, self._now, self._full)
        return Player(1, self._full, asyncio.Event())

    def default_workers(self) -> int:
        return 2

    async def end(self) -> None:
        pass


async def test_the_one_that_is_ready_first_leaves_a_share_to_the_other(tmp_path: Path) -> None:
    by: Counter[int] = Counter()

    def observe(event: ShardEvent) -> None:
        if isinstance(event, UnitDone):
            by[event.shard] += 1

    starter: Any = Slowly()
    work: Any = None
    await Driver(
        work, range(UNITS), workers=2, starter=starter, file_of=lambda n: tmp_path / f"{n}.jsonl",
        statuses=tmp_path, observe=observe,
    ).run()  # fmt: skip
    assert by.total() == UNITS
    assert by[1] >= UNITS // 2 - 1  # the first took one at least while the other began
