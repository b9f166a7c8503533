"""Tasks: many jobs at once, a coroutine run from synchronous code, and long work that can be interrupted.

Many jobs share a few tasks and one stream, and the first failure ends them all. On a terminal, the
first Ctrl-C finishes what is open and the second drops it.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, TypeVar

from .errors import Interrupted

Job = TypeVar("Job")
T = TypeVar("T")


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


def run_sync(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, also where a loop is already running (a notebook)."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    outcome: list[T] = []
    failure: list[BaseException] = []

    def target() -> None:
        try:
            outcome.append(asyncio.run(work))
        except BaseException as error:  # noqa: BLE001 - handed to the calling thread
            failure.append(error)

    thread = threading.Thread(target=target, name="warmline-simulate")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def run_interruptible(
    work: Callable[[asyncio.Event], Coroutine[Any, Any, Any]], say: Callable[[str], None]
) -> Interrupted | None:
    """Run `work` to its end.

    Args:
        work: given the event that a first Ctrl-C sets.
        say: prints what an interrupt does.

    Returns:
        How it was interrupted; None if it was not.
    """

    async def watched() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        task = asyncio.current_task()

        def on_interrupt() -> None:
            if stop.is_set() and task is not None:
                task.cancel()
                return
            stop.set()
            say("finishing what is open; Ctrl-C again drops it")

        with suppress(NotImplementedError):  # Windows loops take no handlers: Ctrl-C then cancels
            loop.add_signal_handler(signal.SIGINT, on_interrupt)
        await work(stop)

    try:
        asyncio.run(watched())
    except Interrupted as stopped:
        return stopped
    except (asyncio.CancelledError, KeyboardInterrupt):
        return Interrupted("stopped", hint="the same command again does what is missing")
    return None
