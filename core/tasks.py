"""Tasks: many jobs at once, a coroutine run from synchronous code, and long work that can be interrupted.

Many jobs share a few tasks and one stream, and the first failure ends them all. The first Ctrl-C
finishes what is open and the second drops it; SIGTERM and SIGHUP finish what fits in a time.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, Generic, ParamSpec, TypeVar

from .errors import Interrupted

Job = TypeVar("Job")
T = TypeVar("T")
P = ParamSpec("P")

READ_IN_PLACE: Final = 20_000
"""Characters up to which a text is read at once; longer ones are read in a thread, so that no text
holds up what else is going on."""

HELD: Final = 0.005
"""Seconds that one task works on before the others have their turn."""

GRACE: Final = 25.0
"""Seconds that open work may take after SIGTERM or SIGHUP: Kubernetes and Slurm kill after 30."""

CANCEL_WAIT = 10.0
"""Seconds that cancelled work may take to end before it is left to itself."""

SIGNAL_EXIT = 128
"""Exit codes of interrupted commands are this plus the signal's number, as shells have it."""


async def aside(chars: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` makes of its arguments; in a thread where it reads many characters."""
    if chars <= READ_IN_PLACE:
        return work(*args, **kwargs)
    return await asyncio.to_thread(work, *args, **kwargs)


class GivingWay:
    """Lets other tasks go on, every few milliseconds, during work that never has to wait.

    Reading a stream does not wait where all of it has arrived already.
    """

    def __init__(self) -> None:
        self._since = time.perf_counter()

    async def __call__(self) -> None:
        if time.perf_counter() - self._since > HELD:
            await asyncio.sleep(0)
            self._since = time.perf_counter()


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


def run_sync(
    work: Coroutine[Any, Any, T],
    *,
    on_interrupt: Callable[[], None] | None = None,
    wait: float = CANCEL_WAIT,
) -> T:
    """Run a coroutine to its end, also where a loop is already running (a notebook).

    Where a loop is running the work is done in a thread of its own, and Ctrl-C reaches only the
    thread that waits for it; so the work is cancelled from there.

    Args:
        on_interrupt: called in the work's loop for each Ctrl-C of a notebook, in place of cancelling.
        wait: seconds that cancelled work may take to end; after that it is left to itself.

    Raises:
        KeyboardInterrupt: Ctrl-C; the work was cancelled.
    """
    if _loop_runs():
        return _Threaded(work).result(on_interrupt, wait)
    return asyncio.run(work)


def _loop_runs() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _Threaded(Generic[T]):
    """A coroutine that runs in a thread with a loop of its own."""

    def __init__(self, work: Coroutine[Any, Any, T]) -> None:
        self._work = work
        self._outcome: list[T] = []
        self._failure: list[BaseException] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._early: list[Callable[[], None]] = []
        self._handing = threading.RLock()  # a signal may come while another is handled
        self._ended = threading.Event()  # an interrupted `Thread.join` cannot be called again

    def _run(self) -> None:
        try:
            self._outcome.append(asyncio.run(self._main()))
        except BaseException as error:  # noqa: BLE001 - handed to the calling thread
            self._failure.append(error)
        finally:
            self._ended.set()

    async def _main(self) -> T:
        with self._handing:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            for what in self._early:
                self._loop.call_soon(what)
        return await self._work

    def result(self, on_interrupt: Callable[[], None] | None, wait: float) -> T:
        """Do it; Ctrl-C cancels it, or is handed to `on_interrupt` for the first two times."""
        interrupts = 0

        def interrupted(*_: object) -> None:
            nonlocal interrupts
            interrupts += 1
            self._call(on_interrupt or self._cancel)
            if on_interrupt is None or interrupts > 2:
                raise KeyboardInterrupt

        # The handler stands before the thread starts: the loop of this thread, which stands still,
        # may have taken Ctrl-C over, and would keep one that came in between to itself.
        with _on_ctrl_c(interrupted):
            try:
                threading.Thread(target=self._run, name="warmline", daemon=True).start()
                self._ended.wait()
            except KeyboardInterrupt:
                self._ended.wait(wait)
                raise
        if self._failure:
            raise self._failure[0]
        return self._outcome[0]

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _call(self, what: Callable[[], None]) -> None:
        """Call something in the work's loop once that runs, unless it has ended meanwhile."""
        with self._handing:
            if self._loop is None:
                self._early.append(what)
            else:
                with suppress(RuntimeError):  # the loop is closed: the work has ended
                    self._loop.call_soon_threadsafe(what)


@contextmanager
def _on_ctrl_c(handler: Callable[..., None]) -> Iterator[None]:
    """Handle Ctrl-C this way, where this is the thread that signals reach."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)


def run_interruptible(
    work: Callable[[asyncio.Event], Coroutine[Any, Any, Any]],
    say: Callable[[str], None],
    *,
    grace: float = GRACE,
) -> Interrupted | None:
    """Run `work` to its end, or to where an interrupt lets it come.

    The first Ctrl-C lets it finish what is open. SIGTERM and SIGHUP (the machine is shut down, the
    terminal is closed) do the same for at most `grace` seconds. A second Ctrl-C drops what is open. A
    SIGTERM that the caller handles, and a SIGHUP that is ignored (`nohup`), are left alone.

    Args:
        work: given the event that the first interrupt sets.
        say: called with a line about what an interrupt does.
        grace: seconds that open work may take after SIGTERM or SIGHUP.

    Returns:
        How it was interrupted, with the command's exit code; None if it was not.
    """
    stopping = _Stopping(say, grace)
    try:
        with _handlers_kept():
            run_sync(
                stopping.watched(work),
                on_interrupt=lambda: stopping.interrupt(signal.SIGINT),
            )
    except Interrupted as stopped:
        return stopping.named(stopped)
    except (asyncio.CancelledError, KeyboardInterrupt):
        return stopping.named(
            Interrupted(
                "stopped; what was open is dropped",
                hint="the same command again does what is missing",
            )
        )
    return None


class _Stopping:
    """What interrupts do to running work: the first asks it to finish, the second drops it."""

    def __init__(self, say: Callable[[str], None], grace: float) -> None:
        self._say = say
        self._grace = grace
        self._stop: asyncio.Event | None = None
        self._task: asyncio.Task[Any] | None = None
        self._reason: int = signal.SIGINT
        self._ending = False
        self._terminals = [fd for fd in (1, 2) if _is_terminal(fd)]

    async def watched(self, work: Callable[[asyncio.Event], Coroutine[Any, Any, Any]]) -> None:
        """Do the work while signals are handled."""
        self._stop, self._task = asyncio.Event(), asyncio.current_task()
        if threading.current_thread() is threading.main_thread():
            loop = asyncio.get_running_loop()
            for number in ending_signals():
                with suppress(NotImplementedError):  # Windows: Ctrl-C then cancels
                    loop.add_signal_handler(number, self.interrupt, number)
        await work(self._stop)

    def interrupt(self, number: int) -> None:
        """One signal; called in the work's loop."""
        if self._stop is None or self._task is None:
            return
        again = self._stop.is_set()
        self._reason = self._reason if again else number
        self._stop.set()
        if number != signal.SIGINT:
            self._end_soon(number)
        elif again:
            self._task.cancel()
        else:
            self._say("finishing what is open; Ctrl-C again drops it")

    def _end_soon(self, number: int) -> None:
        """Start the time that is left; a shutdown often sends both signals, or one twice."""
        if self._ending or self._task is None:
            return
        self._ending = True
        asyncio.get_running_loop().call_later(self._grace, self._task.cancel)
        self._leave_closed_terminals()
        name = signal.Signals(number).name
        self._say(f"{name}: finishing what is open, for at most {self._grace:g} seconds")

    def _leave_closed_terminals(self) -> None:
        """Send output nowhere where the terminal is gone: writing there would fail the work."""
        for fd in self._terminals:
            if not _is_terminal(fd):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, fd)
                os.close(nowhere)

    def named(self, stopped: Interrupted) -> Interrupted:
        """The interrupt with the exit code of what caused it."""
        stopped.exit_code = SIGNAL_EXIT + self._reason
        return stopped


def _is_terminal(fd: int) -> bool:
    with suppress(OSError):
        return os.isatty(fd)
    return False


def ending_signals() -> list[int]:
    """Ctrl-C, and those of SIGTERM and SIGHUP that would end the process at once."""
    others = [getattr(signal, name, None) for name in ("SIGTERM", "SIGHUP")]
    return [signal.SIGINT, *(n for n in others if n and signal.getsignal(n) is signal.SIG_DFL)]


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Put back the signal handlers that a loop replaces and does not restore."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in ending_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
