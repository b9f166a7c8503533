"""What a command asks, divided among workers: the same door as for conversations.

A worker does a part as the command with `--part k/n` does it, with engines or connections and files
of its own. The command then takes in what the parts have, and asks for what is missing, so that its
result is that of one process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from ...core.errors import ConfigError, Interrupted
from ...core.jsonl import LineLog
from ...core.shards.driver import Driver, ShardEvent, ShardLost, Starter, UnitDone
from ...core.shards.on_slurm import plan_of, refuse_active, wait_for
from ...core.shards.parts import DoPart, PartsWork
from ...core.shards.status import status_path
from ..runs.folder import SHARDS_NAME
from .settings import ShardSettings
from .sharded import make_starter, slurm_array


class Parts:
    """A command's work in as many parts as there are workers.

    Args:
        do: does one part.
        out: folder that all workers write to; what they say of themselves is in `shards` there.
        who: how many workers, and where.
        say: told a line for each part that is finished and each worker that is lost.
    """

    def __init__(
        self, do: DoPart, out: Path, who: ShardSettings, say: Callable[[str], None]
    ) -> None:
        self._do, self._out, self._who, self._say = do, out.absolute(), who, say
        self._statuses = self._out / SHARDS_NAME

    async def run(self, stop: asyncio.Event | None = None) -> None:
        """Have every part done; with Slurm, submit an array and wait for it.

        Raises:
            ConfigError: a number of workers or a place that cannot be.
            Interrupted: `stop` was set, or an array ended before all parts were done; what is
                answered is kept.
            RunError: workers are lost again and again, or another command has its workers here.
            Exception: what a part met.
        """
        self._statuses.mkdir(parents=True, exist_ok=True)
        refuse_active(self._statuses)
        with LineLog(self._statuses / "parts.jsonl"):  # its lock says that there is one command
            if self._who.on == "slurm":
                await self._by_slurm(stop)
            else:
                await self._by_driver(stop)
            for file in self._files():
                file.unlink()

    def _files(self) -> list[Path]:
        return sorted(self._statuses.glob("parts-*.jsonl"))

    def _file(self, number: int) -> Path:
        return self._statuses / f"parts-{number:04d}.jsonl"

    def _missing(self, work: PartsWork, parts: int) -> list[int]:
        done = {unit for file in self._files() for unit in work.written(file, range(parts))}
        return [unit for unit in range(parts) if unit not in done]

    async def _by_driver(self, stop: asyncio.Event | None) -> None:
        who = self._who
        if who.on == "ray" and who.ray.through_driver:
            raise ConfigError(
                "parts of this work are written by the workers, not through the driver",
                hint="leave --ray.through-driver out; all nodes must see the folder",
            )
        starter = make_starter(who.on or "local", self._statuses, who.ray)
        parts = who.workers or starter.default_workers()
        work = PartsWork(self._do, parts, self._out)
        missing = self._missing(work, parts)
        if not missing:
            await starter.end()
            return
        driver = self._driver(work, missing, starter)
        try:
            await driver.run(stop)
        except Interrupted as stopped:
            done = parts - len(missing) + driver.finished
            raise Interrupted(
                f"stopped with {done} of {parts} parts done",
                hint="what is answered is kept; the same command again asks for the rest",
            ) from stopped

    def _driver(self, work: PartsWork, missing: list[int], starter: Starter) -> Driver:
        used = [int(file.stem.rpartition("-")[2]) for file in self._files()]
        return Driver(
            work,
            missing,
            workers=len(missing),
            starter=starter,
            file_of=self._file,
            statuses=self._statuses,
            observe=self._told,
            first_file=1 + max(used, default=-1),
            keep_crashes=False,
        )

    def _told(self, event: ShardEvent) -> None:
        if isinstance(event, ShardLost):
            self._say(f"worker {event.shard} was lost ({event.why}); its part is taken up again")
        if isinstance(event, UnitDone):
            self._say(f"part {event.fact.name} is done")

    async def _by_slurm(self, stop: asyncio.Event | None) -> None:
        parts = self._who.workers
        if parts is None:
            raise ConfigError("how many workers?", hint="--workers N is the size of the array")
        work = PartsWork(self._do, parts, self._out)
        missing = self._missing(work, parts)
        if not missing:
            return
        array = slurm_array(self._out, self._who.slurm)
        used = [int(file.stem.rpartition("-")[2]) for file in self._files()]
        first = 1 + max(used, default=-1)
        plan = plan_of(
            work,
            missing,
            tasks=len(missing),
            statuses=self._statuses,
            file_of=lambda number: self._file(first + number),
            status_of=lambda number: status_path(self._statuses, number),
            proven=False,
            notice=self._who.slurm.notice,
        )
        job = array.submit(plan)
        self._say(f"Slurm's job {job} does {len(missing)} parts")
        ended = await wait_for(job, stop)
        if left := self._missing(work, parts):
            again = "the same command again does the others"
            raise Interrupted(
                f"{parts - len(left)} of {parts} parts are done",
                hint=again if ended else f"Slurm's job {job} goes on; `scancel {job}` ends it",
            )
