"""Building a corpus: generate scenarios and profiles, simulate, extend the pools, clean, report.

One folder holds it all, and the same call resumes it after a kill at any moment. A round shows only
what earlier rounds made, and a round begins when the one before is complete; so what is shown is a
function of seed and settings, and an engine that honours seeds makes the same corpus again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from ....agents.roles import Role
from ....core.claim import CONFIG_NAME, FreshFolder, claim
from ....core.errors import ConfigError, Interrupted, did_you_mean
from ....core.files import episode_logs
from ....core.settings import read_settings
from ....core.shards.on_slurm import refuse_active
from ....core.tasks import run_sync
from ....policies.base import Policy, close_policy, describe_policy, open_policy
from ....policies.concurrency import open_conversations
from ....policies.registry import make_policy
from ...dialogue.environment import SupportEnvironment
from ...episodes.episode import Episode
from ...episodes.log import latest_episodes
from ...runs.folder import SHARDS_NAME, SOURCES_NAME, WRITERS_NAME, compare_run, run_identity
from ...runs.simulate import build_environment
from ...runs.summary import totals_of, write_summary
from ...scenarios.scenario import Scenario
from ...shards.run import play_batch
from ..cleaning import CleanSettings, clean_run, examine
from ..sources import read_sources, write_sources
from ..tags import Severity, edited
from .ahead import Ahead, AnsweredAhead
from .coverage import Slot, plan
from .iteration import GenerationRound
from .journal import REJECTS_NAME, SCENARIOS_NAME, PoolJournal, Reject
from .pools import GrowingCases, Pools, case_of, pools_from, shipped_pools
from .prompts import Prompts
from .report import BuildReport, report_of, write_report
from .settings import BuildSettings

Tell = Callable[[str], None]

STARTED = (SCENARIOS_NAME, REJECTS_NAME, CONFIG_NAME, SOURCES_NAME, f"{WRITERS_NAME}/*")
"""What a build writes before its first answer."""


def build(
    *,
    policy: str | Policy | None = None,
    generator: str | Policy | Mapping[str, Any] | None = None,
    observe: Callable[[Any], None] | None = None,
    tell: Tell | None = None,
    **settings: Any,
) -> BuildReport:
    """Build a corpus, or go on with one. Works in scripts and in notebooks.

    Args:
        policy: writes and plays everything; a name, an import string or a policy object.
        generator: for scenarios and profiles, in place of `policy`: a policy's name, a policy
            object, or a mapping of `EngineSettings` fields.
        observe: see `run_batch`.
        tell: called with a line of text when a step begins.
        settings: any field of `BuildSettings`; `out` is the corpus's folder.

    Raises:
        WarmlineError: see `build_corpus`.

    Example:
        ```python
        report = build(out="corpora/first", episodes=6, policy="embedded")
        ```
    """
    seats: dict[Role, Any] = {}
    writer: Policy | None = None
    if isinstance(generator, str):
        settings["generator"] = {"policy": generator}
    elif isinstance(generator, Mapping):
        settings["generator"] = dict(generator)
    else:
        writer = generator
    if isinstance(policy, str):
        settings["policy"] = policy
    elif policy is not None:
        seats = dict.fromkeys(Role, policy)
        if "policy" not in settings.get("generator", {}):
            writer = writer or policy
    chosen = read_settings(BuildSettings, given=settings)
    return run_sync(build_corpus(chosen, seats=seats, generator=writer, observe=observe, tell=tell))


async def build_corpus(
    settings: BuildSettings,
    *,
    seats: Mapping[Role, Any] | None = None,
    generator: Policy | None = None,
    observe: Callable[[Any], None] | None = None,
    tell: Tell | None = None,
    stop: asyncio.Event | None = None,
) -> BuildReport:
    """Build the corpus that the settings describe.

    Args:
        settings: `out` must be set.
        seats: ready agents or policies for some roles; they stay open, they are the caller's.
        generator: a ready policy for scenarios and profiles; likewise.
        observe: see `run_batch`.
        tell: called with a line of text when a step begins.
        stop: once set, nothing new is asked and what is open is finished.

    Raises:
        ConfigError: settings that cannot be run.
        DataError: a source that cannot be used, or a journal that was changed.
        MissingExtra: near-duplicates are looked for, and the libraries are not installed.
        RunError: the folder holds a build with other settings, is in use, or the disk is full.
        PolicyError: an engine is gone, or every further question would fail too.
        Interrupted: `stop` was set.
    """
    if not settings.out:
        raise ConfigError("a build needs a folder", hint="out='corpora/first'")
    async with AsyncExitStack() as stack:
        environment = build_environment(settings, seats or {})
        given = {id(getattr(seat, "policy", seat)) for seat in (seats or {}).values()}
        for policy in environment.policies():
            if id(policy) not in given:
                stack.push_async_callback(close_policy, policy)
        writer = generator
        if writer is None:
            engine = settings.writer()
            writer = make_policy(engine.policy or "", **engine.policy_options())
            stack.push_async_callback(close_policy, writer)
        ahead: Ahead | None = None
        folder = Path(settings.out)
        # what workers were answered before a kill counts without workers too
        if settings.sharded or (folder / WRITERS_NAME).is_dir():
            writer = answered = AnsweredAhead(writer, folder / WRITERS_NAME)
            if settings.sharded:
                ahead = Ahead(folder, settings, generator, answered, tell or _silent)
        job = _Build(
            settings=settings,
            folder=folder,
            environment=environment,
            writer=writer,
            ahead=ahead,
            observe=observe,
            tell=tell or _silent,
            stop=stop or asyncio.Event(),
        )
        return await job.run()


@dataclass(frozen=True)
class _Build:
    """One call of `build_corpus`."""

    settings: BuildSettings
    folder: Path
    environment: SupportEnvironment
    writer: Policy
    ahead: Ahead | None
    observe: Callable[[Any], None] | None
    tell: Tell
    stop: asyncio.Event

    async def run(self) -> BuildReport:
        settings = self.settings
        pools = _seeds(settings)
        types = _types(pools, settings.problem_types)
        slots = plan(settings.episodes, settings.coverage, seed=settings.seed, types=types)
        prompts = Prompts.of(settings, settings.generator.sampling())
        identity = self._identity(pools, prompts)
        with_settings = settings.model_dump(exclude_defaults=True)
        whole = run_identity(self.environment, settings.seed, identity)
        compare_run(self.folder, whole)  # before anything is written there
        for workers in self.folder.glob(f"{WRITERS_NAME}/*/{SHARDS_NAME}"):
            refuse_active(workers)
        fresh = FreshFolder(self.folder)
        with PoolJournal(self.folder) as journal, fresh.unless_begun(STARTED):
            claim(self.folder, whole, with_settings)  # under the journal's lock
            if settings.source is not None and (sources := read_sources(settings.source)):
                write_sources(self.folder, sources)  # what examples and cases were made after
            for number, part in enumerate(_rounds(slots, settings.rounds), 1):
                pools = await self._round(number, part, pools, prompts, journal, identity)
            scenarios = list(journal.scenarios.values())
            rejects = list(journal.rejects)
        if settings.clean and scenarios:
            self.tell("cleaning")
            await asyncio.to_thread(clean_run, self.folder)
        write_summary(self.folder, totals_of(self._episodes()), settings.prices)
        report = report_of(self.folder, slots, scenarios, rejects, types)
        write_report(self.folder, report)
        return report

    def _identity(self, pools: Pools, prompts: Prompts) -> dict[str, Any]:
        return {
            **self.environment.describe(),
            "build": self.settings.identity(),
            "generator": {**prompts.describe(), **describe_policy(self.writer)},
            "pools": _digest(pools),
        }

    async def _round(
        self,
        number: int,
        slots: Sequence[Slot],
        pools: Pools,
        prompts: Prompts,
        journal: PoolJournal,
        identity: Mapping[str, Any],
    ) -> Pools:
        """Generate, simulate, and return the pools with what came of it."""
        settings = self.settings
        self.tell(f"round {number} of {settings.rounds}: {len(slots)} scenarios to write")
        await open_policy(self.writer)
        ahead = self.ahead

        async def ask_ahead(waiting: Sequence[Slot], attempt: int) -> None:
            if ahead is not None:
                await ahead.ask(number, waiting, attempt, pools, prompts, self.stop)

        scenarios = await GenerationRound(
            number,
            slots,
            pools,
            policy=self.writer,
            prompts=prompts,
            settings=settings,
            journal=journal,
            seed=settings.seed,
            concurrency=settings.concurrency or open_conversations([self.writer]),
            stop=self.stop,
            observe=lambda decided: self._report_decision(decided, journal),
            before=ask_ahead,
        ).run()
        if self.stop.is_set():
            raise Interrupted(
                f"stopped with {len(journal.scenarios)} of {settings.episodes} scenarios written",
                hint="the same command again goes on from there",
            )
        if isinstance(self.writer, AnsweredAhead):
            self.writer.forget()
        self.tell(f"round {number} of {settings.rounds}: {len(scenarios)} conversations")
        episodes = await play_batch(
            settings,
            self._with_cases(pools),
            scenarios,
            settings=settings,
            seed=settings.seed,
            identity=identity,
            observe=self.observe,
            stop=self.stop,
        )
        accepted = [good for e in episodes if (good := learnt_from(e, settings)) is not None]
        return pools.grown(
            scenarios=[episode.scenario for episode in accepted],
            profiles=scenarios,
            dialogues=[case_of(episode) for episode in accepted],
        )

    def _report_decision(self, decided: Scenario | Reject, journal: PoolJournal) -> None:
        if isinstance(decided, Scenario):
            self.tell(
                f"{len(journal.scenarios)}/{self.settings.episodes} {decided.id} written;"
                f" {len(journal.rejects)} answers refused so far"
            )

    def _with_cases(self, pools: Pools) -> SupportEnvironment:
        """The environment, with this round's dialogues as the supporter's cases."""
        written = [d for d in pools.dialogues if d.source != GENERATED]
        generated = [d for d in pools.dialogues if d.source == GENERATED]
        base = self.environment
        return SupportEnvironment(
            **{role.value: agent for role, agent in base.agents().items()},
            cases=GrowingCases(written, generated, self.settings.generated_share),
            speculative=base.speculative,
            **base.limits.model_dump(),
        )

    def _episodes(self) -> Iterator[Episode]:
        return latest_episodes(self.folder) if episode_logs(self.folder) else iter(())


GENERATED = "simulated"
"""Source of the case dialogues that a build made itself."""


def learnt_from(episode: Episode, settings: BuildSettings) -> Episode | None:
    """The episode, trimmed, if it may serve as an example later; else None.

    It must have ended without an error and (unless `learn_truncated`) without reaching a limit, and
    with `clean` no filter may ask to drop it. Only filters that look at one episode count here, so
    that the order in which conversations finish does not.
    """
    if episode.error is not None or len(episode.utterances) < 2:
        return None
    if episode.truncated and not settings.learn_truncated:
        return None
    if not settings.clean:
        return episode
    findings = examine(episode, CleanSettings(skip=("near_duplicates",)).make())
    if any(finding.severity is Severity.DROP for finding in findings):
        return None
    return edited(episode, [f for f in findings if f.severity is Severity.TRIM])


def _seeds(settings: BuildSettings) -> Pools:
    if settings.source is None:
        return shipped_pools()
    return pools_from(settings.source, min_words=settings.min_words)


def _types(pools: Pools, wanted: Sequence[str]) -> list[str]:
    unknown = [
        f"'{name}'" + (f"; {hint}" if (hint := did_you_mean(name, pools.types)) else "")
        for name in wanted
        if name not in pools.types
    ]
    if unknown:
        raise ConfigError(
            "no seeds for these problem types", problems=unknown, hint="`warmline types` lists all"
        )
    return [name for name in pools.types if not wanted or name in wanted]


def _rounds(slots: Sequence[Slot], rounds: int) -> Iterator[Sequence[Slot]]:
    """The plan in `rounds` stretches of nearly equal length; none is empty."""
    rounds = min(rounds, len(slots))
    edges = [len(slots) * n // rounds for n in range(rounds + 1)]
    return (slots[a:b] for a, b in pairwise(edges))


def _digest(pools: Pools) -> str:
    """Of everything in the pools that can be shown."""
    shown: list[Any] = [_scenario_key(s) for s in (*pools.scenarios, *pools.profiles)]
    shown += [(d.id, [(t.role, t.text, t.strategy) for t in d.turns]) for d in pools.dialogues]
    return hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:16]


def _scenario_key(scenario: Scenario) -> tuple[str, str, str, str]:
    return scenario.id, scenario.problem_type, scenario.situation, str(scenario.profile)


def _silent(message: str) -> None:
    """Tells nobody."""
