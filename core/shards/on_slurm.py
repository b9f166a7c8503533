"""Shards as the tasks of a Slurm array, submitted through submitit.

No driver runs: what is to be done lies in a plan beside the statuses, cut into leases, and a task
takes a lease by linking a file to its name, which one alone can do on any file system, NFS included.
A task that Slurm starts again first finishes the leases that are its own. Shortly before its time
limit a task finishes what is open and has itself requeued; `scancel` lets it finish what it can.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from ..errors import MissingExtra, RunError
from ..files import read_json, write_whole
from ..tasks import GRACE
from .leases import LARGEST, SHARE
from .passing import dumps, loads
from .shard import ShardTask, run_shard
from .status import is_lost
from .work import Fact, Made, ShardLog, Work

JOB_NAME = "slurm.json"
POLL = 1.0
FIRST_WAIT = 600.0
"""Seconds for which tasks wait for one that loads and compiles first, and lives."""
SPARE = 5.0
"""Seconds of the notice before the time limit that are left for requeueing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What an array does.

    Attributes:
        work: see `work.Work`.
        units: those that are missing.
        lease: units of a lease.
        tasks: of the array.
        folder: in which leases are taken.
        files, statuses: of each task.
        proven: see `Work.do`.
        notice: seconds between the signal and the time limit.
    """

    work: Work
    units: Sequence[int]
    lease: int
    tasks: int
    folder: Path
    files: Sequence[Path]
    statuses: Sequence[Path]
    proven: bool
    notice: float

    @property
    def leases(self) -> int:
        """How many there are."""
        return -(-len(self.units) // self.lease)

    def units_of(self, lease: int) -> Sequence[int]:
        """The units of a lease."""
        return self.units[lease * self.lease : (lease + 1) * self.lease]

    def lease_file(self, lease: int) -> Path:
        """The file whose link says whose a lease is."""
        return self.folder / f"{lease:06d}"


class FileChannel:
    """A task's way to its leases; see `shard.Channel`."""

    def __init__(self, plan: Plan, number: int) -> None:
        self.stopping = asyncio.Event()
        self._plan, self._number = plan, number
        self._order = self._searched()
        self._owned: list[int] | None = None

    async def lease(self, wanted: int) -> Sequence[int]:
        if self._owned is None:
            self._owned = self._left_over()
            if self._owned:
                return self._owned
        for lease in self._order:
            if take(self._plan.lease_file(lease), self._number):
                return self._plan.units_of(lease)
        return []

    def done(self, unit: int, made: Made) -> None:
        """The task's file and status say it."""

    def _searched(self) -> Iterator[int]:
        """All leases, from the task's own part on, so that few tasks want the same one."""
        count = self._plan.leases
        start = self._number * count // self._plan.tasks
        return ((start + n) % count for n in range(count))

    def _left_over(self) -> list[int]:
        """Units of leases that this task took before it was started again."""
        mine = [
            unit
            for lease in range(self._plan.leases)
            if owner(self._plan.lease_file(lease)) == self._number
            for unit in self._plan.units_of(lease)
        ]
        written = self._plan.work.written(self._plan.files[self._number], mine) if mine else {}
        return [unit for unit in mine if unit not in written]


def take(file: Path, owner: int) -> bool:
    """Make a file that names an owner, unless it is there; whether it was made."""
    own = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    own.write_text(str(owner), "utf-8")
    try:
        os.link(own, file)
    except FileExistsError:
        return False
    finally:
        own.unlink()
    return True


def owner(file: Path) -> int | None:
    """Whose a file is; None if it is not there."""
    try:
        return int(file.read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return None


class FirstAlone:
    """Work that one task opens alone, so that not all download or compile the same at once.

    Where that one is lost, or fails, another takes its place.

    Args:
        work: to be opened.
        folder: in which the tasks see who was first (`first`), and who took whose place (`first-1`
            and so on).
        number: of the task.
        statuses: of each task.
    """

    def __init__(self, work: Work, folder: Path, number: int, statuses: Sequence[Path]) -> None:
        self._work, self._number, self._statuses = work, number, statuses
        self._folder, self._opened = folder, folder / "opened"

    async def open(self, stop: asyncio.Event) -> int:
        """Open it, as the first or after it."""
        until = time.monotonic() + FIRST_WAIT
        while not self._opened.exists() and time.monotonic() < until:
            if self._is_first():
                at_once = await self._work.open(stop)
                self._opened.touch()
                return at_once
            await asyncio.sleep(POLL)
        return await self._work.open(stop)

    def _is_first(self) -> bool:
        """Whether it is this task's turn: nobody had it, or whoever had it last is lost."""
        for place in count():
            file = self._place(place)
            if not file.exists() and take(file, self._number):
                return True
            holder = owner(file)
            if holder == self._number:
                if not self._place(place + 1).exists():
                    return True  # it was started again
            elif holder is None or not is_lost(self._statuses[holder]):
                return False
        raise AssertionError("there is no last place")

    def _place(self, place: int) -> Path:
        return self._folder / (f"first-{place}" if place else "first")

    async def do(self, unit: int, proven: Callable[[], bool]) -> Made:
        """See `Work.do`."""
        return await self._work.do(unit, proven)

    async def close(self) -> None:
        """See `Work.close`."""
        await self._work.close()

    def log(self, path: Path) -> AbstractContextManager[ShardLog]:
        """See `Work.log`."""
        return self._work.log(path)

    def written(self, path: Path, units: Sequence[int]) -> Mapping[int, Fact]:
        """See `Work.written`."""
        return self._work.written(path, units)


class SlurmTask:
    """What submitit calls in each task of the array."""

    def __init__(self, plan: Path, number: int) -> None:
        self._plan, self._number = plan, number

    def __call__(self) -> None:
        """Do leases until none is free."""
        requeue = signal.getsignal(signal.SIGUSR2)  # submitit's: it has the task requeued
        paths, pickled = loads(self._plan.read_bytes())
        known = set(sys.path)
        sys.path += [path for path in paths if path not in known]
        plan: Plan = loads(pickled)
        if asyncio.run(self._play(plan)) and callable(requeue):
            requeue(signal.SIGUSR2, None)

    def checkpoint(self) -> Any:
        """What submitit starts when the task is requeued: the same."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)

    async def _play(self, plan: Plan) -> bool:
        """Play; whether the time limit came before the end."""
        channel = FileChannel(plan, self._number)
        restarts = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
        task = ShardTask(
            work=FirstAlone(plan.work, plan.folder, self._number, plan.statuses),
            number=self._number,
            file=plan.files[self._number],
            status=plan.statuses[self._number],
            restarts=restarts,
            proven=plan.proven,
        )
        playing = asyncio.create_task(run_shard(task, channel))
        at_limit = False

        def stop(seconds: float, *, limit: bool) -> None:
            nonlocal at_limit
            at_limit = at_limit or limit
            channel.stopping.set()
            asyncio.get_running_loop().call_later(seconds, playing.cancel)

        loop = asyncio.get_running_loop()
        notice = max(1.0, plan.notice - SPARE)
        loop.add_signal_handler(signal.SIGUSR2, partial(stop, notice, limit=True))
        loop.add_signal_handler(signal.SIGTERM, partial(stop, GRACE, limit=False))
        with suppress(asyncio.CancelledError):
            await playing
        return at_limit


class Slurm:
    """Submits arrays, and looks after them.

    Args:
        folder: in which the workers say how they are.
        parameters: of submitit for Slurm, such as `partition` and `time` (minutes).
        requeues: time limits that a task may meet before it is given up.

    Raises:
        MissingExtra: submitit is not installed.
    """

    def __init__(self, folder: Path, parameters: Mapping[str, Any], requeues: int) -> None:
        try:
            import submitit  # noqa: F401
        except ModuleNotFoundError as error:
            raise MissingExtra("--on slurm", extra="slurm") from error
        self._folder, self._parameters, self._requeues = folder, dict(parameters), requeues

    def script(self, tasks: int) -> str:
        """The script for sbatch, as it would be submitted."""
        from submitit.slurm.slurm import _make_sbatch_string

        given = self._parameters | ({"map_count": tasks} if tasks > 1 else {})
        python = f"{sys.executable} -u -m submitit.core._submit {self._printed}"
        return str(_make_sbatch_string(command=python, folder=self._printed, **given))

    @property
    def _printed(self) -> Path:
        return self._folder / "slurm"

    def submit(self, plan: Plan) -> str:
        """Submit a plan; the array's job id.

        Raises:
            RunError: Slurm refuses.
        """
        from submitit.core.utils import FailedJobError
        from submitit.slurm.slurm import SlurmExecutor

        for left in self._folder.glob("plan-*"):
            shutil.rmtree(left, ignore_errors=True)
        plan.folder.mkdir(parents=True)
        file = plan.folder / "plan.pickle"
        file.write_bytes(dumps((list(sys.path), dumps(plan))))
        try:
            executor = SlurmExecutor(self._printed, max_num_timeout=self._requeues)
            executor.update_parameters(**self._parameters)
            with executor.batch():
                jobs = [executor.submit(SlurmTask(file, n)) for n in range(plan.tasks)]
        except (RuntimeError, FailedJobError, OSError, ValueError) as error:
            raise RunError(
                f"Slurm takes no job: {error}",
                hint="this must be a machine from which `sbatch` works; --dry-run shows the script",
            ) from error
        job = str(jobs[0].job_id).partition("_")[0]
        write_whole(self._folder / JOB_NAME, json.dumps({"job": job, "tasks": plan.tasks}) + "\n")
        return job


def refuse_active(folder: Path) -> None:
    """Refuse to go on while an array plays a run.

    Args:
        folder: in which the run's workers say how they are.

    Raises:
        RunError: one does.
    """
    if job := active_job(folder / JOB_NAME):
        raise RunError(
            f"Slurm's job {job} plays this run",
            hint=f"`warmline status` shows how far it is; `scancel {job}` ends it",
        )


def active_job(file: Path) -> str | None:
    """The job that a file names (`{"job": ...}`), if any task of it waits or runs.

    Args:
        file: need not be there.
    """
    job = str(read_json(file)["job"]) if file.is_file() else ""
    return job if job and active(job) else None


def active(job: str) -> bool:
    """Whether any task of an array waits or runs."""
    asked = ["squeue", "--noheader", "--format=%T", f"--jobs={job}"]
    try:
        found = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
    except FileNotFoundError:
        return False
    return found.returncode == 0 and bool(found.stdout.strip())


async def wait_for(job: str, stop: asyncio.Event | None) -> bool:
    """Wait until an array has ended; False if `stop` was set before."""
    while await asyncio.to_thread(active, job):
        if stop is not None and stop.is_set():
            return False
        await asyncio.sleep(POLL)
    return True


def plan_of(
    work: Work,
    units: Sequence[int],
    *,
    tasks: int,
    statuses: Path,
    file_of: Callable[[int], Path],
    status_of: Callable[[int], Path],
    proven: bool,
    notice: float,
) -> Plan:
    """The plan for units; leases are at most one of `SHARE` shares of a task's part."""
    tasks = max(1, min(tasks, len(units)))
    return Plan(
        work=work,
        units=units,
        lease=max(1, min(LARGEST, -(-len(units) // (SHARE * tasks)))),
        tasks=tasks,
        folder=statuses / f"plan-{secrets.token_hex(4)}",
        files=[file_of(n) for n in range(tasks)],
        statuses=[status_of(n) for n in range(tasks)],
        proven=proven,
        notice=notice,
    )
