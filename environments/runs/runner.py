"""Runs many conversations at once, on one machine, into a log that can be resumed."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from ...core.errors import ConfigError, Interrupted
from ...core.tasks import for_each
from ..dialogue.conversation import Spoken
from ..dialogue.environment import SupportEnvironment
from ..episodes.episode import Episode
from ..episodes.log import EpisodeLog, read_episodes
from ..episodes.usage import Price
from ..scenarios.scenario import Scenario
from .folder import claimed_log, write_summary


@dataclass(frozen=True, slots=True)
class Started:
    """An event: an episode began."""

    scenario: Scenario


@dataclass(frozen=True, slots=True)
class Ended:
    """An event: an episode ended, or (`resumed`) was found finished in the log."""

    episode: Episode
    resumed: bool = False


BatchEvent = Started | Spoken | Ended
BatchObserver = Callable[[BatchEvent], None]


async def run_batch(
    environment: SupportEnvironment,
    scenarios: Iterable[Scenario],
    *,
    out: str | Path | None = None,
    concurrency: int = 8,
    seed: int = 0,
    retry_failed: bool = False,
    observe: BatchObserver | None = None,
    stop: asyncio.Event | None = None,
    settings: Mapping[str, Any] | None = None,
    prices: Mapping[str, Price] | None = None,
    identity: Mapping[str, Any] | None = None,
) -> list[Episode]:
    """Play one conversation for each scenario.

    Every episode is independent: a known error ends that episode alone and is kept in its record. So
    is what a user's policy raises unexpectedly, once an episode has ended without that; before, it
    stops the run.
    With `out`, finished episodes are appended to `out/episodes.jsonl`; the same call again plays
    only what is missing.

    Args:
        environment: opened here if it is not; closing it is the caller's.
        scenarios: with distinct ids.
        out: the run's folder.
        concurrency: episodes in flight.
        seed: the run's seed.
        retry_failed: play again the logged episodes that ended in an error.
        observe: called with `Started`, `Spoken` and `Ended`.
        stop: once set, no new episode begins and those in flight are finished.
        prices: money for tokens, for the costs in `summary.json`; see `account`.
        settings: saved in the run's `config.toml` beside the environment's identity.
        identity: in place of the environment's own; see `run_identity`.

    Returns:
        The episodes in the order of the scenarios, those read back from the log included.

    Raises:
        ConfigError: a repeated scenario id or an impossible concurrency.
        RunError: the folder holds a run with other settings (the difference is shown), the log is
            in use, or the disk is full.
        Interrupted: `stop` was set before all were played.
        PolicyError: one that every other episode would meet too (a wrong key, say).
        Exception: what a policy raised unexpectedly before any episode had ended without it.
    """
    scenarios = list(scenarios)
    _check(scenarios, concurrency)
    report = observe or _ignore
    stop = stop or asyncio.Event()
    done: dict[str, Episode] = {}
    with ExitStack() as stack:
        log: EpisodeLog | None = None
        if out is not None:
            log = stack.enter_context(claimed_log(Path(out), environment, seed, settings, identity))
            done = _finished(log, {scenario.id for scenario in scenarios}, retry_failed)
            for episode in done.values():
                report(Ended(episode, resumed=True))
        waiting = [scenario for scenario in scenarios if scenario.id not in done]
        proven = any(_without_crash(episode) for episode in done.values())

        async def play(scenario: Scenario) -> None:
            nonlocal proven
            report(Started(scenario))
            episode = await environment.run(
                scenario, seed=seed, observe=report, keep_crashes=lambda: proven
            )
            proven = proven or _without_crash(episode)
            if log is not None:
                log.append(episode)
            done[episode.id] = episode
            report(Ended(episode))

        try:
            if waiting:
                await environment.open()
                stack.enter_context(_patient_collector())
                allowed = takewhile(lambda _: not stop.is_set(), waiting)
                await for_each(allowed, play, min(concurrency, len(waiting)))
        finally:
            if out is not None:
                write_summary(Path(out), done.values(), prices)
    if missing := [scenario.id for scenario in scenarios if scenario.id not in done]:
        raise Interrupted(
            f"stopped with {len(done)} of {len(scenarios)} episodes finished",
            hint=f"the same command again plays the other {len(missing)}"
            if out is not None
            else None,
        )
    return [done[scenario.id] for scenario in scenarios]


GC_THRESHOLDS = (50_000, 50, 100)
"""Thresholds of Python's cycle collector while a batch runs."""


@contextmanager
def _patient_collector() -> Iterator[None]:
    """Let the cycle collector look less often: it walks through every open episode each time.

    With 10,000 open episodes Python's own thresholds double the time of a turn. Records hold no
    cycles, so there is little for it to find. The thresholds are put back at the end.
    """
    before = gc.get_threshold()
    gc.set_threshold(*map(max, before, GC_THRESHOLDS))
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _check(scenarios: list[Scenario], concurrency: int) -> None:
    if concurrency < 1:
        raise ConfigError(f"concurrency must be at least 1, not {concurrency}")
    twice = [name for name, count in Counter(s.id for s in scenarios).items() if count > 1]
    if twice:
        raise ConfigError(
            f"scenario ids occur more than once: {', '.join(twice[:5])}",
            hint="seeds derive from the id; scenario.sample(2) makes a second one of a scenario",
        )


def _finished(log: EpisodeLog, wanted: set[str], retry_failed: bool) -> dict[str, Episode]:
    if not wanted & log.finished.keys():
        return {}
    again = {i for i, failed in log.finished.items() if failed} if retry_failed else set()
    return {
        episode.id: episode
        for episode in read_episodes(log.path)
        if episode.id in wanted and episode.id not in again
    }


def _without_crash(episode: Episode) -> bool:
    return episode.error is None or episode.error.traceback is None


def _ignore(event: BatchEvent) -> None:
    """Observer that does nothing."""
