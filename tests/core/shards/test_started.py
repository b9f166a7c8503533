"""A shard that comes into being while it is no longer wanted is ended, not forgotten."""

from __future__ import annotations

import asyncio
import os
import signal
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


def large_task(folder: Path) -> ShardTask:
    """More than a pipe takes at once, so that its start has to wait."""
    work: Any = bytes(1 << 20)
    return ShardTask(
        work=work, number=0, file=folder / "x", status=folder / "s", restarts=0, proven=False
    )


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
    with pytest.raises(asyncio.CancelledError):
        await Local(tmp_path).start(large_task(tmp_path))
    (process,) = made
    assert process.returncode is not None
    assert process.pid not in {p.pid for p in psutil.Process(os.getpid()).children()}


async def test_the_pipes_of_a_process_are_closed_though_its_end_is_called_off(
    tmp_path: Path,
) -> None:
    """Two workers that fail at once: the error of one calls off the end of the other."""
    shard = await Local(tmp_path).start(large_task(tmp_path))
    process = shard._process
    ending = asyncio.create_task(shard.kill())
    await asyncio.sleep(0)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert vars(process)["_transport"].is_closing()
    assert await process.wait() == -signal.SIGKILL
