"""Shards that open their engines: they say so, and one that is lost meanwhile holds no other up."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest

from warmline.core.shards import on_slurm, shard
from warmline.core.shards.on_slurm import Plan, SlurmTask, owner, plan_of
from warmline.core.shards.shard import ShardTask, run_shard
from warmline.core.shards.status import ShardStatus, read_statuses, shown_state, status_path
from warmline.core.shards.work import Fact, Made

WAIT = 30.0


class Lines:
    """A shard's file."""

    def append(self, made: Made) -> None:
        """Nothing is kept."""


class Opening:
    """Work whose opening is what is tested."""

    def __init__(self, opens: Callable[[], None]) -> None:
        self._opens = opens

    async def open(self, stop: asyncio.Event) -> int:
        self._opens()
        return 1

    async def do(self, unit: int, proven: Callable[[], bool]) -> Made:
        return Made(str(unit), "{}")

    async def close(self) -> None:
        pass

    def log(self, path: Path) -> AbstractContextManager[Lines]:
        return nullcontext(Lines())

    def written(self, path: Path, units: Sequence[int]) -> Mapping[int, Fact]:
        return {}


class Nothing:
    """A channel without units."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()

    async def lease(self, wanted: int) -> Sequence[int]:
        return []

    def done(self, unit: int, made: Made) -> None:
        pass


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard, "EVERY", 0.01)
    monkeypatch.setattr(on_slurm, "POLL", 0.01)


def said(file: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(file.read_text("utf-8"))
    return read


def test_a_shard_says_that_it_starts_for_as_long_as_an_engine_opens(tmp_path: Path) -> None:
    file, told = status_path(tmp_path, 0), []

    def holds_the_loop() -> None:
        first, until = said(file), time.monotonic() + WAIT
        while said(file)["updated"] == first["updated"] and time.monotonic() < until:
            time.sleep(0.01)
        told.extend([first, said(file)])

    task = ShardTask(Opening(holds_the_loop), 0, None, file)
    asyncio.run(run_shard(task, Nothing()))
    first, later = told
    assert later["updated"] > first["updated"]
    assert [each["state"] for each in told] == ["starting", "starting"]
    assert said(file)["state"] == "ended"


def plan(work: Opening, folder: Path, tasks: int) -> Plan:
    made = plan_of(
        work, range(8), tasks=tasks, statuses=folder, proven=False, notice=60,
        file_of=lambda n: folder / f"{n}.jsonl", status_of=lambda n: status_path(folder, n),
    )  # fmt: skip
    made.folder.mkdir(parents=True)
    return made


def states(folder: Path) -> list[str]:
    return [shown_state(each, time.time()) for each in read_statuses(folder)]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("how", ["silent", "failed"])
def test_the_place_of_a_task_that_was_lost_as_it_opened_is_taken(how: str, tmp_path: Path) -> None:
    given = plan(Opening(lambda: None), tmp_path, 3)
    lost = ShardStatus(given.statuses[0], 0)
    lost.write("starting" if how == "silent" else how)
    if how == "silent":
        given.statuses[0].write_text(json.dumps(said(given.statuses[0]) | {"updated": 0}))
    (given.folder / "first").write_text("0")
    for number in (1, 2):
        asyncio.run(SlurmTask(tmp_path, number)._play(given))
    assert states(tmp_path) == [how, "ended", "ended"]
    assert owner(given.folder / "first-1") == 1, "the other one found it opened"
    assert not (given.folder / "first-2").exists()


@pytest.mark.timeout(60)
def test_tasks_that_fail_as_they_open_hold_up_no_other(tmp_path: Path) -> None:
    tries: list[int] = []

    def fails_twice() -> None:
        tries.append(len(tries))
        if len(tries) <= 2:
            raise ZeroDivisionError

    given = plan(Opening(fails_twice), tmp_path, 4)

    async def all_of_them() -> list[Any]:
        playing = [
            run_shard(
                ShardTask(
                    on_slurm.FirstAlone(given.work, given.folder, n, given.statuses),
                    n, None, given.statuses[n],
                ),
                Nothing(),
            )
            for n in range(4)
        ]  # fmt: skip
        return await asyncio.gather(*playing, return_exceptions=True)

    ended = asyncio.run(all_of_them())
    assert sum(isinstance(each, ZeroDivisionError) for each in ended) == 2
    assert sorted(states(tmp_path)) == ["ended", "ended", "failed", "failed"]
    assert len(tries) == 4


@pytest.mark.timeout(60)
def test_a_task_that_is_started_again_goes_on_unless_its_place_was_taken(tmp_path: Path) -> None:
    given = plan(Opening(lambda: None), tmp_path, 2)
    (given.folder / "first").write_text("0")
    asyncio.run(SlurmTask(tmp_path, 0)._play(given))
    assert states(tmp_path) == ["ended"]
    assert (given.folder / "opened").exists()
    (given.folder / "opened").unlink()
    ShardStatus(given.statuses[1], 1).write("failed")
    (given.folder / "first-1").write_text("1")
    asyncio.run(SlurmTask(tmp_path, 0)._play(given))
    assert owner(given.folder / "first-2") == 0
