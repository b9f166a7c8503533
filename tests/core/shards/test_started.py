"""A shard that comes into being while it is no longer wanted is ended, not forgotten."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from warmline.core.shards.driver import Driver
from warmline.core.shards.local import Local
from warmline.core.shards.shard import ShardTask


class Made:
    """A shard that keeps in mind whether it was ended."""

    killed = False

    async def kill(self) -> None:
        self.killed = True


class Late:
    """Starts a shard that is there although its start was called off."""

    same_file = True

    def __init__(self) -> None:
        self.shard = Made()
        self.begun = asyncio.Event()

    async def start(self, task: ShardTask) -> Made:
        self.begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)
        return self.shard


def driver(starter: Any, folder: Path) -> Driver:
    return Driver(
        Any, [0, 1], workers=1, starter=starter, file_of=lambda n: folder / f"{n}.jsonl",
        statuses=folder, observe=lambda event: None,
    )  # fmt: skip


@pytest.mark.parametrize("called_off", [True, False], ids=["called off", "all is done"])
async def test_a_shard_that_is_there_too_late_is_ended(tmp_path: Path, called_off: bool) -> None:
    starter = Late()
    one = driver(starter, tmp_path)
    task = asyncio.create_task(one._started(one._task(0, 0, 0)))
    await starter.begun.wait()
    if called_off:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        one._over.set()
        assert await task is None
    assert starter.shard.killed


async def test_a_process_whose_start_is_called_off_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[asyncio.subprocess.Process] = []
    really = asyncio.create_subprocess_exec

    async def start(*words: Any, **given: Any) -> asyncio.subprocess.Process:
        made.append(await really(*words, **given))
        asyncio.current_task().cancel()  # type: ignore[union-attr]
        return made[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    large = bytes(1 << 20)  # more than a pipe takes at once, so that the start has to wait
    with pytest.raises(asyncio.CancelledError):
        await Local(tmp_path).start(
            ShardTask(
                work=large, number=0, file=tmp_path / "x", status=tmp_path / "s", restarts=0,
                proven=False,
            )  # type: ignore[arg-type]
        )  # fmt: skip
    (process,) = made
    assert process.returncode is not None
    assert process.pid not in {p.pid for p in psutil.Process(os.getpid()).children()}
