"""What a worker of a run does: one conversation for each scenario, into its own log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from ...core.errors import ConfigError
from ...core.shards.work import Fact, Made
from ...policies.base import close_policy
from ...policies.concurrency import open_conversations
from ...policies.human.policy import is_person
from ..dialogue.environment import SupportEnvironment
from ..episodes.episode import FAILED, Episode
from ..episodes.index import LogIndex
from ..episodes.log import EpisodeLog
from ..episodes.sequence import Episodes
from ..runs.finished import without_crash
from ..runs.settings import RunSettings
from ..runs.simulate import build_environment
from ..runs.summary import Totals, keep_totals, kept_totals, totals_of
from ..scenarios.samples import Samples
from ..scenarios.scenario import Scenario


class EnvironmentSource(Protocol):
    """Makes a worker's environment, in its process."""

    def __call__(self) -> SupportEnvironment:
        """The environment, with policies that are not open."""


class FromSettings:
    """Makes the environment that settings describe."""

    def __init__(self, settings: RunSettings) -> None:
        self._settings = settings

    def __call__(self) -> SupportEnvironment:
        return build_environment(self._settings)


class Itself:
    """An environment that was made already, and is sent to the workers."""

    def __init__(self, environment: SupportEnvironment) -> None:
        self._environment = environment

    def __call__(self) -> SupportEnvironment:
        return self._environment


class EpisodeWork:
    """The conversations of a run, as units; see `core.shards.work.Work`.

    Args:
        source: makes the environment.
        scenarios: of the whole run; a unit is the place of one.
        seed: the run's; with a scenario's id it gives every call's seed, whoever plays it.
        concurrency: conversations in flight in each worker; None chooses by the policies.
    """

    def __init__(
        self,
        source: EnvironmentSource,
        scenarios: Sequence[Scenario],
        *,
        seed: int,
        concurrency: int | None = None,
    ) -> None:
        self._source, self._scenarios = source, scenarios
        self._seed, self._concurrency = seed, concurrency
        self._environment: SupportEnvironment | None = None

    async def open(self, stop: asyncio.Event) -> int:
        """Make the environment and open it; the conversations to have in flight."""
        self._environment = self._source()
        if any(map(is_person, self._environment.policies())):
            raise ConfigError(
                "a person sits at one terminal, which several workers cannot share",
                hint="leave out --workers and --on, or let people talk in the browser: `warmline serve`",
            )
        await self._environment.open()
        return self._concurrency or open_conversations(self._environment.policies())

    async def do(self, unit: int, proven: Callable[[], bool]) -> Made:
        """Play one conversation."""
        assert self._environment is not None
        episode = await self._environment.run(
            self._scenarios[unit], seed=self._seed, keep_crashes=proven
        )
        return made_of(episode)

    async def close(self) -> None:
        """Close the policies."""
        if self._environment is not None:
            for policy in self._environment.policies():
                await close_policy(policy)

    @contextmanager
    def log(self, path: Path) -> Iterator[ShardEpisodes]:
        """A worker's log."""
        with EpisodeLog(path) as log:
            episodes = ShardEpisodes(log)
            try:
                yield episodes
            finally:
                episodes.end()

    def written(self, path: Path, units: Sequence[int]) -> Mapping[int, Fact]:
        """Those of some conversations that a lost worker's log holds."""
        if not path.is_file():
            return {}
        index = LogIndex.of(path)
        names = {unit: self._name(unit) for unit in units}
        return {
            unit: Fact(unit, name, (end := index.stop(number)), end in FAILED, False, 0)
            for unit, name in names.items()
            if (number := index.last.get(name)) is not None
        }

    def _name(self, unit: int) -> str:
        scenarios = self._scenarios
        return scenarios.id_at(unit) if isinstance(scenarios, Samples) else scenarios[unit].id


class ShardEpisodes:
    """A worker's open log, with the sums over its episodes kept beside it."""

    def __init__(self, log: EpisodeLog) -> None:
        self._log = log
        self._found = Episodes.of_log(log.index, tuple(log.index.last.values()))
        self._before = kept_totals(log.index, self._found)
        self._totals = Totals()
        self._each_once = True

    def append(self, made: Made) -> None:
        """Write one episode."""
        self._each_once = self._each_once and made.name not in self._log.index.last
        self._log.append_json(made.line, made.name)
        value = made.value
        self._totals.add(value if isinstance(value, Episode) else _read(made.line))

    def end(self) -> None:
        """Keep the sums, so that nobody has to read the episodes for them."""
        if not self._each_once:
            return  # an episode that failed was tried again: they hold it twice
        self._totals.merge(self._before or totals_of(self._found))
        index = self._log.index
        keep_totals(index, Episodes.of_log(index, index.last.values()), self._totals)


def _read(line: str) -> Episode:
    return Episode.model_validate_json(line)


def made_of(episode: Episode) -> Made:
    """What a worker hands on of an episode."""
    return Made(
        name=episode.id,
        line=episode.to_json(),
        end=episode.stop.value,
        failed=episode.error is not None,
        crashed=not without_crash(episode),
        tokens=episode.usage.completion_tokens,
        value=episode,
    )
