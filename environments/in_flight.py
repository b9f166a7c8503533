"""Many questions at once: a few tasks share one stream of jobs, and the first failure ends them all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from .runner import Interrupted

Job = TypeVar("Job")


async def for_each(
    jobs: Iterable[Job],
    work: Callable[[Job], Coroutine[Any, Any, None]],
    concurrency: int,
    stop: asyncio.Event | None = None,
) -> None:
    """Do `work` for each job, taken from the stream only when a task is free for it.

    Args:
        stop: once set, no further job is taken and those in flight are finished.

    Raises:
        Exception: the first that `work` raised; what was in flight is cancelled.
        Interrupted: `stop` was set.
    """
    queue = iter(() if stop and stop.is_set() else jobs)

    async def take() -> None:
        for job in queue:
            await work(job)
            await asyncio.sleep(0)  # policies that never wait must not starve the loop
            if stop and stop.is_set():
                return

    tasks = [asyncio.create_task(take()) for _ in range(concurrency)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if stop and stop.is_set():
        raise Interrupted("stopped", hint="the same command again asks for what is missing")
