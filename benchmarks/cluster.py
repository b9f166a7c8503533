"""Workers on one machine: episodes a second with 1, 2 and 4, and what the driver itself costs.

Scripted policies answer at once, so nothing but the framework is measured. The driver's share is its
own CPU time, which does not depend on what else runs: at 1,000 episodes a second it takes as many
milliseconds a second as it takes microseconds an episode. The issue's goal is below 5 %. Its memory
is taken when a tenth of the episodes are done and when all are, so that what grows with them shows,
and at most, which is when the logs' indices are read at the end.

    python benchmarks/cluster.py [episodes [workers ...]]

The embedded engine itself, in one worker with all cores and in two that share them:

    python benchmarks/cluster.py --engine [episodes]
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import warmline
from warmline.core.shards.driver import ShardStarted, UnitDone

EPISODES = 20_000
WORKERS = (1, 2, 4)
THREADS = "BENCHMARK_THREADS"
"""How `engines` tells its workers their threads."""


def answer(request: warmline.Request) -> str:
    """At once."""
    return "I hear you."


def environment() -> warmline.SupportEnvironment:
    """Two speakers, four utterances."""
    policy = warmline.ScriptedPolicy(answer, record=False)
    return warmline.SupportEnvironment(seeker=policy, supporter=policy, max_turns=4)


class Watch:
    """The time and the driver's CPU between the last worker's start and the last episode; its memory
    at a tenth of the episodes and at the last, in MB."""

    def __init__(self, count: int) -> None:
        self.began = self.ended = (0.0, 0.0)
        self.done = 0
        self.memory: dict[int, float] = dict.fromkeys((max(1, count // 10), count), 0.0)

    def __call__(self, event: Any) -> None:
        now = (time.perf_counter(), time.process_time())
        if isinstance(event, ShardStarted):
            self.began = now
        elif isinstance(event, UnitDone):
            self.done += 1
            self.ended = now
            if self.done in self.memory:
                self.memory[self.done] = resident()


def resident() -> float:
    """This process's memory, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def embedded() -> warmline.SupportEnvironment:
    """The embedded engine in both seats, two turns; it has the threads that `engines` gives."""
    policy = warmline.EmbeddedPolicy(threads=int(os.environ[THREADS]))
    return warmline.SupportEnvironment(seeker=policy, supporter=policy, max_turns=4)


def measure(
    count: int,
    workers: int,
    folder: Path,
    make: Callable[[], warmline.SupportEnvironment] = environment,
) -> tuple[float, float, list[float]]:
    """Episodes a second, the driver's CPU seconds an episode, and its memory."""
    watch = Watch(count)
    scenarios = warmline.draw_scenarios(count, seed=1)
    made = warmline.run_sharded(
        make, scenarios, out=folder, workers=workers, concurrency=8, observe=watch
    )
    assert len(made) == count
    wall, cpu = (end - start for start, end in zip(watch.began, watch.ended, strict=True))
    return count / wall, cpu / count, list(watch.memory.values())


def engines(count: int) -> None:
    """One worker and two with an engine each; the time from the start, for an engine has to load."""
    cores = os.cpu_count() or 1
    for workers in (1, 2):
        threads = max(1, cores // workers)
        os.environ[THREADS] = str(threads)  # else each takes what is idle when it starts
        with tempfile.TemporaryDirectory() as folder:
            began = time.perf_counter()
            measure(count, workers, Path(folder) / "run", embedded)
            tokens = sum(
                e.usage.completion_tokens for e in warmline.read_episodes(Path(folder) / "run")
            )
        wall = time.perf_counter() - began
        print(
            f"{workers} workers of {threads} threads: {count} episodes in {wall:.0f} s,"
            f" {tokens / wall:.1f} tokens/s"
        )


def main() -> None:
    """Measure and print."""
    if sys.argv[1:2] == ["--engine"]:
        engines(int(sys.argv[2]) if len(sys.argv) > 2 else 16)
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else EPISODES
    counts = tuple(map(int, sys.argv[2:])) or WORKERS
    print(f"{count} scripted episodes of four utterances, {os.cpu_count()} cores")
    first = 0.0
    for workers in counts:
        with tempfile.TemporaryDirectory() as folder:
            rate, cpu, memory = measure(count, workers, Path(folder) / "run")
        first = first or rate
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{workers} workers: {rate:.0f} episodes/s ({rate / first:.2f} of one worker), driver"
            f" {cpu * 1e6:.0f} µs an episode = {cpu * 1e5:.1f} % of a core at 1,000 a second,"
            f" {memory[0]:.0f} MB at a tenth, {memory[-1]:.0f} MB at the last, {most:.0f} MB at most"
        )


if __name__ == "__main__":
    main()
