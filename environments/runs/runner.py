"""Runs many conversations at once, on one machine, into a log that can be resumed."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

from ...core.errors import ConfigError, Interrupted
from ...core.tasks import for_each
from ...policies.concurrency import open_conversations
from ..dialogue.environment import SupportEnvironment
from ..episodes.episode import Episode
from ..episodes.order import keep_order
from ..episodes.usage import Price
from ..scenarios.samples import ids_of
from ..scenarios.scenario import Scenario
from .events import BatchEvent, BatchObserver, Ended, Resumed, Started
from .finished import FinishedInLog, FinishedInMemory
from .folder import claimed_log, other_logs


async def run_batch(
    environment: SupportEnvironment,
    scenarios: Iterable[Scenario],
    *,
    out: str | Path | None = None,
    concurrency: int | None = None,
    seed: int = 0,
    retry_failed: bool = False,
    observe: BatchObserver | None = None,
    stop: asyncio.Event | None = None,
    settings: Mapping[str, Any] | None = None,
    prices: Mapping[str, Price] | None = None,
    identity: Mapping[str, Any] | None = None,
) -> Sequence[Episode]:
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
        concurrency: episodes in flight; None chooses by the policies, once they are open (see
            `policies.concurrency.open_conversations`).
        seed: the run's seed.
        retry_failed: play again the logged episodes that ended in an error.
        observe: called with `Started`, `Spoken` and `Ended`, and first with `Resumed` where episodes
            were found finished.
        stop: once set, no new episode begins and those in flight are finished.
        prices: money for tokens, for the costs in `summary.json`; see `account`.
        settings: saved in the run's `config.toml` beside the environment's identity.
        identity: in place of the environment's own; see `run_identity`.

    Returns:
        The episodes in the order of the scenarios, those found in the log included. With `out` it is
        an `Episodes`, which reads a record when it is asked for; without, a list.

    Raises:
        ConfigError: a repeated scenario id or an impossible concurrency.
        RunError: the folder holds a run with other settings (the difference is shown), the log is
            in use, or the disk is full.
        Interrupted: `stop` was set before all were played.
        PolicyError: one that every other episode would meet too (a wrong key, say).
        Exception: what a policy raised unexpectedly before any episode had ended without it.
    """
    if not isinstance(scenarios, Sequence):
        scenarios = list(scenarios)
    names = ids_of(scenarios)
    check_names(names, concurrency)
    report = observe or _ignore
    with ExitStack() as stack:
        finished: FinishedInLog | FinishedInMemory = FinishedInMemory()
        if out is not None:
            folder = Path(out)
            log = stack.enter_context(claimed_log(folder, environment, seed, settings, identity))
            others = other_logs(folder)
            if others:
                keep_order(folder, names)
            finished = FinishedInLog(
                log, names, others=others, retry_failed=retry_failed, prices=prices
            )
            if finished.found:
                report(Resumed(finished.found, finished.stops))
        stack.callback(finished.end)
        waiting = (scenarios[n] for n, name in enumerate(names) if name not in finished)
        missing = len(scenarios) - len(finished)

        async def play(scenario: Scenario) -> None:
            report(Started(scenario))
            episode = await environment.run(
                scenario, seed=seed, observe=report, keep_crashes=lambda: finished.proven
            )
            finished.add(scenario.id, episode)
            report(Ended(episode))

        if missing:
            await environment.open()
            stack.enter_context(_patient_collector())
            stopped = stop or asyncio.Event()
            allowed = takewhile(lambda _: not stopped.is_set(), waiting)
            at_once = concurrency or open_conversations(environment.policies())
            await for_each(allowed, play, min(at_once, missing))
    if left := len(scenarios) - len(finished):
        raise Interrupted(
            f"stopped with {len(finished)} of {len(scenarios)} episodes finished",
            hint=f"the same command again plays the other {left}" if out is not None else None,
        )
    return finished.episodes(names)


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


def check_names(names: Sequence[str], concurrency: int | None) -> None:
    """Refuse scenarios that no run can play.

    Raises:
        ConfigError: a repeated scenario id or an impossible concurrency.
    """
    if concurrency is not None and concurrency < 1:
        raise ConfigError(f"concurrency must be at least 1, not {concurrency}")
    if len(set(map(hash, names))) == len(names):  # which takes less memory than their texts
        return
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ConfigError(
            f"scenario ids occur more than once: {', '.join(twice[:5])}",
            hint="seeds derive from the id; scenario.sample(2) makes a second one of a scenario",
        )


def _ignore(event: BatchEvent) -> None:
    """Observer that does nothing."""
