"""Long work on a terminal: the first Ctrl-C finishes what is open, the second drops it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from .runner import Interrupted


def run_interruptible(
    work: Callable[[asyncio.Event], Coroutine[Any, Any, Any]], say: Callable[[str], None]
) -> Interrupted | None:
    """Run `work` to its end.

    Args:
        work: given the event that a first Ctrl-C sets.
        say: told what an interrupt does.

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
