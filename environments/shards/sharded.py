"""A run that several workers play: the same log form, seeds and resume as on one machine.

The run's folder is claimed by the driver, which holds the lock of `episodes.jsonl`; worker n writes
`episodes-<n>.jsonl`. What any log of the folder holds counts as finished, so that the same command
with another number of workers, or with none, goes on where this one stopped.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.errors import ConfigError, Interrupted, RunError
from ...core.files import episode_logs
from ...core.shards.driver import Driver, ShardEvent, Starter
from ...core.shards.local import Local
from ...core.shards.on_slurm import Slurm, plan_of, wait_for
from ...core.shards.status import status_path
from ...core.stores.store import folder_of
from ..episodes.episode import StopReason
from ..episodes.index import LogIndex
from ..episodes.log import EpisodeLog, read_episodes
from ..episodes.order import keep_order
from ..episodes.sequence import Episodes
from ..episodes.usage import Price
from ..runs.finished import missing_and_finished, without_crash
from ..runs.folder import SHARDS_NAME, claimed_log, other_logs
from ..runs.runner import check_names
from ..runs.settings import RunSettings
from ..runs.summary import Totals, kept_totals, totals_of, write_summary
from ..scenarios.samples import ids_of
from ..scenarios.scenario import Scenario
from .settings import Place, RaySettings, ShardSettings, SlurmSettings
from .work import EnvironmentSource, EpisodeWork, FromSettings


@dataclass(frozen=True, slots=True)
class Found:
    """An event: episodes were found finished. Comes once, first, where there are any.

    Attributes:
        stops: how many, by how they ended.
    """

    stops: Mapping[str, int]


RunEvent = Found | ShardEvent
RunObserver = Callable[[RunEvent], None]


def shard_file(folder: Path, number: int) -> Path:
    """The log of a worker."""
    return folder / f"episodes-{number:04d}.jsonl"


class ShardedRun:
    """A run for several workers.

    Args:
        source: makes the environment of each worker.
        scenarios: with distinct ids.
        out: the run's folder.
        seed, concurrency, retry_failed: see `run_sharded`.
        settings: saved in the run's `config.toml`.
        prices: see `account`.
        identity: see `run_identity`.
    """

    def __init__(
        self,
        source: EnvironmentSource,
        scenarios: Sequence[Scenario],
        *,
        out: Path,
        seed: int = 0,
        concurrency: int | None = None,
        retry_failed: bool = False,
        settings: Mapping[str, Any] | None = None,
        prices: Mapping[str, Price] | None = None,
        identity: Mapping[str, Any] | None = None,
    ) -> None:
        self.scenarios, self.out = scenarios, out
        self._names = ids_of(scenarios)
        check_names(self._names, concurrency)
        self._source, self._seed, self._prices = source, seed, prices
        self._retry_failed, self._settings, self._identity = retry_failed, settings, identity
        self._work = EpisodeWork(source, scenarios, seed=seed, concurrency=concurrency)

    @classmethod
    def of_settings(cls, settings: RunSettings, scenarios: Sequence[Scenario]) -> ShardedRun:
        """The run that settings with a folder describe."""
        return cls(
            FromSettings(settings),
            scenarios,
            out=folder_of(settings.out or ""),
            seed=settings.seed,
            concurrency=settings.concurrency,
            retry_failed=settings.retry_failed,
            settings=settings.model_dump(exclude_defaults=True),
            prices=settings.prices,
        )

    async def play(
        self,
        *,
        workers: int | None = None,
        on: Place = "local",
        ray: RaySettings | None = None,
        observe: RunObserver | None = None,
        stop: asyncio.Event | None = None,
    ) -> None:
        """Play what is missing; on this machine or on Ray.

        Raises:
            Interrupted: `stop` was set before all were played.
            WarmlineError: see `run_sharded`.
        """
        if workers is not None and workers < 1:
            raise ConfigError(f"workers must be at least 1, not {workers}")
        with self._claimed() as log:
            missing, found = self._missing(log.index)
            if observe is not None and found:
                observe(Found(Counter(found.stops)))
            try:
                if missing:
                    starter = make_starter(on, self.out / SHARDS_NAME, ray or RaySettings())
                    await self._drive(missing, workers, starter, _proven(found), observe, stop)
            finally:
                self._summarize(log.index)
        if missing_now := len(self._names) - len(self.episodes()):
            raise RunError(f"{missing_now} episodes are not in the logs")

    async def play_as(
        self,
        who: ShardSettings,
        *,
        observe: RunObserver | None = None,
        stop: asyncio.Event | None = None,
    ) -> None:
        """Play what is missing, where and by as many workers as settings say; with Slurm, submit it
        and wait.

        Raises:
            Interrupted: `stop` was set before all were played.
            WarmlineError: see `run_sharded`.
        """
        if who.on != "slurm":
            on = who.on or "local"
            await self.play(workers=who.workers, on=on, ray=who.ray, observe=observe, stop=stop)
        elif job := await self.submit(who.workers, who.slurm):
            await self.wait(job, stop)

    def _claimed(self) -> AbstractContextManager[EpisodeLog]:
        """The folder, claimed, and its own log."""
        return claimed_log(self.out, self._source(), self._seed, self._settings, self._identity)

    async def submit(self, workers: int | None, slurm: SlurmSettings) -> str | None:
        """Submit what is missing as an array of Slurm; its job id, or None if nothing is missing.

        Raises:
            ConfigError: no number of workers.
            RunError: an array plays the run already, or Slurm refuses.
            WarmlineError: see `run_sharded`.
        """
        array = slurm_array(self.out, slurm)
        with self._claimed() as log:
            missing, found = self._missing(log.index)
            self._summarize(log.index)
            if not missing:
                return None
            if workers is None:
                raise ConfigError("how many workers?", hint="--workers N is the size of the array")
            folder = self.out.absolute()
            plan = plan_of(
                self._work,
                missing,
                tasks=workers,
                statuses=folder / SHARDS_NAME,
                file_of=lambda number: shard_file(folder, number),
                status_of=lambda number: status_path(folder / SHARDS_NAME, number),
                proven=_proven(found),
                notice=slurm.notice,
            )
            return array.submit(plan)

    async def wait(self, job: str, stop: asyncio.Event | None = None) -> None:
        """Wait until a submitted array has ended, and sum up what it played.

        Raises:
            Interrupted: `stop` was set before; the array goes on. Or it left some unplayed.
        """
        ended = await wait_for(job, stop)
        if ended:
            with self._claimed() as log:
                self._summarize(log.index)
        done = len(self.episodes())
        if done < len(self._names):
            raise Interrupted(
                f"{done} of {len(self._names)} episodes finished",
                hint="the same command again plays the others"
                if ended
                else f"Slurm's job {job} goes on; `scancel {job}` ends it",
            )

    def _missing(self, own: LogIndex) -> tuple[Sequence[int], Episodes]:
        """The places of the scenarios to be played, and the episodes of the others."""
        keep_order(self.out, self._names)
        logs = (*other_logs(self.out), own)
        again = self._retry_failed
        missing, found = missing_and_finished(logs, self._names, retry_failed=again)
        return missing, Episodes.of_places(logs, found)

    async def _drive(
        self,
        missing: Sequence[int],
        workers: int | None,
        starter: Starter,
        proven: bool,
        observe: RunObserver | None,
        stop: asyncio.Event | None,
    ) -> None:
        driver = Driver(
            self._work,
            missing,
            workers=workers or starter.default_workers(),
            starter=starter,
            file_of=lambda number: shard_file(self.out.absolute(), number),
            statuses=self.out.absolute() / SHARDS_NAME,
            observe=observe or (lambda _: None),
            proven=proven,
            first_file=0 if starter.same_file else _unused_number(self.out),
        )
        try:
            await driver.run(stop)
        except Interrupted as stopped:
            total = len(self._names)
            left = len(missing) - driver.finished
            raise Interrupted(
                f"stopped with {total - left} of {total} episodes finished",
                hint=f"the same command again plays the other {left}",
            ) from stopped

    def _summarize(self, own: LogIndex) -> None:
        logs = (*other_logs(self.out), own)
        _, found = missing_and_finished(logs, self._names)
        totals = Totals()
        for log, episodes in Episodes.of_places(logs, found).by_log():
            totals.merge(kept_totals(log, episodes) or totals_of(episodes))
        write_summary(self.out, totals, self._prices)

    def episodes(self) -> Episodes:
        """Those that are finished, in the order of the scenarios."""
        return read_episodes(self.out).chosen(self._names)


def make_starter(on: Place, folder: Path, ray: RaySettings) -> Starter:
    """Whoever starts workers there.

    Args:
        folder: in which the workers say how they are.

    Raises:
        MissingExtra: what is needed for it is not installed.
        RunError: no cluster there.
    """
    if on == "ray":
        from ...core.shards.on_ray import OnRay

        folder.mkdir(parents=True, exist_ok=True)
        return OnRay(
            folder.absolute(),
            address=ray.address,
            cpus=ray.cpus,
            gpus=ray.gpus,
            bundles=ray.bundles,
            through_driver=ray.through_driver,
        )
    return Local(folder)


def slurm_array(out: Path, slurm: SlurmSettings) -> Slurm:
    """What submits the workers of a run to Slurm.

    Raises:
        MissingExtra: submitit is not installed.
    """
    return Slurm(out.absolute() / SHARDS_NAME, slurm.parameters(), slurm.requeues)


def _unused_number(folder: Path) -> int:
    """The number behind those of all logs in a folder."""
    taken = (file.stem.rpartition("-")[2] for file in episode_logs(folder))
    return 1 + max((int(number) for number in taken if number.isdigit()), default=-1)


def _proven(found: Episodes) -> bool:
    """Whether one of the finished episodes ended without anything raised unexpectedly."""
    failed = found.stops.count(StopReason.ERROR.value)
    return len(found) > failed or any(map(without_crash, found))
