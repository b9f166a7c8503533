"""Workers as an array of a real Slurm on this machine: requeued, cancelled, at the time limit."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import warmline
from warmline.core.errors import ConfigError, Interrupted, MissingExtra, RunError
from warmline.core.shards import on_slurm
from warmline.core.shards.on_slurm import FileChannel, owner, plan_of, take
from warmline.core.shards.status import ShardStatus, status_path
from warmline.environments.shards.parts import Parts
from warmline.environments.shards.settings import ShardSettings, SlurmSettings
from warmline.environments.shards.sharded import ShardedRun, slurm_array
from warmline.environments.shards.status import run_status

from ...test_outside import Command
from ..helpers import scenarios
from . import slurm_here
from .test_run import alone, contents, environment, records, slowly

pytest.importorskip("submitit", reason="submitit is not installed: pip install 'warmline[slurm]'")
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def slurm() -> Iterator[Path]:
    yield from slurm_here.running()


@pytest.fixture
def there(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", str(slurm))


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(capsys, monkeypatch)


def finished(folder: Path) -> int:
    try:
        return len(warmline.read_episodes(folder))
    except warmline.WarmlineError:
        return 0


def job_of(folder: Path) -> str:
    return str(json.loads((folder / "shards" / "slurm.json").read_text())["job"])


def when(ready: Any, then: Any) -> threading.Thread:
    """Do something in a thread once something holds."""

    def wait() -> None:
        while not ready():
            time.sleep(0.1)
        then()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def start_now(folder: Path) -> None:
    """Slurm holds a requeued task back for two minutes; have it start before, until all has ended."""
    job = job_of(folder)
    while on_slurm.active(job):
        update = ["scontrol", "update", f"JobId={job}", "StartTime=now"]
        subprocess.run(update, check=False, capture_output=True)
        time.sleep(1)


def run(folder: Path, count: int, **more: Any) -> Any:
    return warmline.run_sharded(
        environment(slowly), scenarios(count), out=folder, on="slurm", concurrency=1,
        **{"workers": 2, **more},
    )  # fmt: skip


@pytest.mark.usefixtures("there")
def test_a_requeued_task_goes_on_with_its_own_leases(tmp_path: Path) -> None:
    def requeue() -> None:
        subprocess.run(["scontrol", "requeue", f"{job_of(tmp_path)}_0"], check=True)
        start_now(tmp_path)

    log = tmp_path / "episodes-0000.jsonl"
    thread = when(lambda: log.is_file() and log.stat().st_size > 30_000, requeue)
    made = run(tmp_path, 200)
    thread.join(60)
    assert contents(made) == contents(asyncio.run(alone(200, slowly)))
    assert len(records(tmp_path)) == 200, "nothing twice"
    workers = run_status(tmp_path)["workers"]
    assert [w["state"] for w in workers] == ["ended", "ended"]
    assert workers[0]["restarts"] >= 1
    assert workers[0]["job"] is not None


@pytest.mark.usefixtures("there")
def test_a_cancelled_array_finishes_what_is_open_and_the_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def cancel() -> None:
        subprocess.run(["scancel", job_of(tmp_path)], check=True)

    thread = when(lambda: finished(tmp_path) >= 10, cancel)
    made = run(tmp_path, 300)
    thread.join(60)
    assert 10 <= len(made) < 300
    assert all(len(episode.utterances) == 4 for episode in made)
    assert "the same command again plays the others" in capsys.readouterr().err
    assert (
        len(warmline.run_sharded(environment(slowly), scenarios(300), out=tmp_path, workers=2))
        == 300
    )
    assert len(records(tmp_path)) == 300


@pytest.mark.usefixtures("there")
def test_at_its_time_limit_a_task_has_itself_requeued(tmp_path: Path) -> None:
    """A notice of 50 seconds before a limit of one minute, in which all cannot be played."""
    limited = {"time": 1, "notice": 50}

    thread = when((tmp_path / "shards" / "slurm.json").is_file, lambda: start_now(tmp_path))
    made = run(tmp_path, 1200, workers=1, slurm=limited)
    assert len(made) == 1200
    assert run_status(tmp_path)["workers"][0]["restarts"] >= 1
    assert len(records(tmp_path)) == 1200
    thread.join(180)


@pytest.mark.usefixtures("there")
def test_the_command_submits_once_and_shows_the_script(tmp_path: Path, command: Command) -> None:
    out = tmp_path / "run"
    words = ["simulate", "--policy", "scripted", "--max-turns", "4", "--episodes", "40",
             "--on", "slurm", "--workers", "2", "--out", out]  # fmt: skip
    printed = command(*words, "--dry-run", "--slurm.time", "30", "--slurm.setup", "module load x")
    for line in ("#SBATCH --array=0-1%2", "#SBATCH --time=30", "#SBATCH --signal=USR2@120",
                 "#SBATCH --requeue", "module load x", "submitit.core._submit"):  # fmt: skip
        assert line in printed
    assert not out.exists()
    assert f"warmline status {out}" in command(*words)
    assert "plays this run" in command(*words, code=2)
    job = job_of(out)
    while on_slurm.active(job):
        time.sleep(0.5)
    assert finished(out) == 40
    script = next((out / "shards" / "slurm").glob("*_submission.sh")).read_text()
    assert script == slurm_array(out, SlurmSettings()).script(2), "as --dry-run shows it"
    assert "40" in command(*words), "the same command again sums up"
    assert json.loads((out / "summary.json").read_text())["episodes"] == 40


@pytest.mark.usefixtures("there")
def test_parts_of_other_work(tmp_path: Path) -> None:
    """See `Parts`. A part that fails leaves the other, and the same again does what is missing."""

    async def do(part: str, stop: asyncio.Event) -> None:
        with (tmp_path / part.replace("/", "-of-")).open("a") as file:
            file.write("x")
        if part == "2/2" and not (tmp_path / "mended").exists():
            raise ZeroDivisionError

    told: list[str] = []
    parts = Parts(do, tmp_path, ShardSettings(on="slurm", workers=2), told.append)
    with pytest.raises(Interrupted, match="1 of 2 parts are done"):
        asyncio.run(parts.run())
    (tmp_path / "mended").touch()
    asyncio.run(parts.run())
    assert told[1].endswith("does 1 parts")
    assert [(tmp_path / f"{n}-of-2").read_text() for n in (1, 2)] == ["x", "xx"]


# Without Slurm


def test_each_lease_is_taken_once_and_its_owner_goes_on_with_it(tmp_path: Path) -> None:
    given = ShardedRun(lambda: environment(slowly), scenarios(40), out=tmp_path)
    plan = plan_of(
        given._work, range(40), tasks=3, statuses=tmp_path, proven=False, notice=60,
        file_of=lambda n: tmp_path / f"episodes-{n:04d}.jsonl", status_of=lambda n: tmp_path / f"{n}",
    )  # fmt: skip
    plan.folder.mkdir()

    async def leases(which: FileChannel, most: int) -> list[int]:
        units: list[int] = []
        for _ in range(most):
            units += await which.lease(8)
        return units

    async def all_of_it() -> list[list[int]]:
        first, second = FileChannel(plan, 0), FileChannel(plan, 1)
        mine = await leases(first, 2)
        others = await leases(second, 100)
        again = await leases(FileChannel(plan, 0), 100)
        assert set(mine) <= set(again), "nothing of it is written"
        return [others, again]

    parts = asyncio.run(all_of_it())
    assert sorted(unit for part in parts for unit in part) == list(range(40))


def test_a_file_has_one_owner(tmp_path: Path) -> None:
    won: list[int] = []

    def compete(number: int) -> None:
        if take(tmp_path / "x", number):
            won.append(number)

    threads = [threading.Thread(target=compete, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert owner(tmp_path / "x") == won[0]
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_one_task_opens_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_slurm, "POLL", 0.01)
    opening: list[int] = []
    together: list[int] = []

    class Slow:
        async def open(self, stop: asyncio.Event) -> int:
            opening.append(1)
            together.append(len(opening))
            await asyncio.sleep(0.05)
            opening.pop()
            return 4

    statuses = [status_path(tmp_path, n) for n in range(5)]
    for number, file in enumerate(statuses):
        ShardStatus(file, number).write("starting")

    async def all_of_them() -> list[int]:
        tasks = [on_slurm.FirstAlone(Slow(), tmp_path, n, statuses) for n in range(5)]
        return list(await asyncio.gather(*(task.open(asyncio.Event()) for task in tasks)))

    assert asyncio.run(all_of_them()) == [4] * 5
    assert together == [1, 1, 2, 3, 4], "the first alone, the others together"


def test_no_slurm_and_no_submitit_are_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RunError, match="Slurm takes no job"):
        run(tmp_path / "run", 4)
    with pytest.raises(ConfigError, match="how many workers"):
        run(tmp_path / "run", 4, workers=None)
    with pytest.raises(ConfigError, match="notice"):
        run(tmp_path / "run", 4, slurm={"time": 1, "notice": 60})
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(MissingExtra, match="--on slurm"):
        run(tmp_path / "run", 4)
