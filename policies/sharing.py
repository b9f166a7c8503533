"""One loaded engine for all policies of this process that have the same settings."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ..core.errors import EngineUnavailable

K = TypeVar("K", bound=Hashable)
E = TypeVar("E", bound=Hashable)


class Forked(EngineUnavailable):
    """An engine is used in a process that was forked from its own."""

    retryable = False
    fatal = True


class OwnProcess:
    """The process that something with threads or connections was opened in.

    A fork copies the memory and no thread: whoever waited there would wait for ever.

    Args:
        what: was opened, for messages.
    """

    def __init__(self, what: str) -> None:
        self._what, self._pid = what, os.getpid()

    @property
    def here(self) -> bool:
        """Whether this is still that process."""
        return os.getpid() == self._pid

    def check(self) -> None:
        """Do nothing in that process.

        Raises:
            Forked: in any other.
        """
        if not self.here:
            raise Forked(
                f"{self._what} was opened in process {self._pid}, and this is process"
                f" {os.getpid()}, forked from it without its threads and connections",
                hint="open the policy in the process that uses it, after the fork; or start processes"
                " with multiprocessing.get_context('spawn')",
            )


@dataclass(slots=True, eq=False)
class _Entry(Generic[K, E]):
    """An engine, its users, and the lock under which it is opened and closed."""

    key: K
    engine: E | None = None
    users: int = 0
    changing: threading.Lock = field(default_factory=threading.Lock)


class SharedEngines(Generic[K, E]):
    """Engines by their settings. The first user opens one, the last closes it.

    Users may live in any thread and event loop. Whoever comes while an engine is opened waits for
    it; whoever comes while it is closed waits and then opens a new one. If opening fails, its
    caller gets the error, and the next one tries again.

    Args:
        open_engine: opens the engine of these settings; blocks, in a thread of its own.
        close_engine: ends an engine and what it is doing; blocks.
    """

    def __init__(self, open_engine: Callable[[K], E], close_engine: Callable[[E], object]) -> None:
        self._open, self._close = open_engine, close_engine
        # Re-entrant: garbage collection inside a locked block may release an engine of a policy
        # that nobody closed, in the same thread.
        self._lock = threading.RLock()
        self._process = OwnProcess("an engine of this kind")
        self._entries: dict[K, _Entry[K, E]] = {}
        self._entry_of: dict[E, _Entry[K, E]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[K]:
        """Settings of the engines that are open, or being opened or closed."""
        return iter(list(self._entries))

    async def acquire(self, key: K) -> E:
        """The engine of these settings, opened if nobody holds it yet.

        A caller that is cancelled does not see the opening through: the engine is given back once
        it is there.

        Raises:
            Forked: this process was forked from one in which engines are open; their libraries
                cannot be used in both.
            Exception: what `open_engine` raises.
        """
        if self._entries:
            self._process.check()
        self._process = OwnProcess("an engine of this kind")
        opening: Future[E] = Future()
        opening.set_running_or_notify_cancel()  # from here on nobody who waits can cancel it
        threading.Thread(target=self._acquire_into, args=(key, opening)).start()
        try:
            return await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(self._give_back)
            raise

    async def release(self, engine: E) -> None:
        """Give an engine back; the last user closes it, in a thread."""
        await asyncio.to_thread(self.release_now, engine)

    def release_now(self, engine: E) -> None:
        """The same, blocking; what belongs to another process is left to it."""
        if not self._process.here:
            return
        entry = self._entry_of[engine]
        with self._lock:
            entry.users -= 1
            if entry.users:
                return
        with entry.changing:
            # Somebody may have taken it meanwhile, and may even have given it back.
            if entry.users or entry.engine is None:
                return
            entry.engine = None
            try:
                self._close(engine)
            finally:
                with self._lock:
                    del self._entry_of[engine]
                    self._drop_unused(entry)

    def forget(self, engine: E) -> None:
        """Open another one for the next user: this one is dead. Its users still give it back."""
        with self._lock:
            entry = self._entry_of.get(engine)
            if entry is not None and self._entries.get(entry.key) is entry:
                del self._entries[entry.key]

    def _acquire_into(self, key: K, opening: Future[E]) -> None:
        try:
            opening.set_result(self._acquire(key))
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            opening.set_exception(error)

    def _acquire(self, key: K) -> E:
        entry = self._join(key)
        with entry.changing:
            if entry.engine is not None:
                return entry.engine
            try:
                engine = self._open(key)
            except BaseException:
                with self._lock:
                    entry.users -= 1
                    self._drop_unused(entry)
                raise
            with self._lock:
                self._entry_of[engine] = entry
                entry.engine = engine
            return engine

    def _join(self, key: K) -> _Entry[K, E]:
        """The entry of a key, with one user more."""
        new = _Entry[K, E](key)
        with self._lock:
            while True:
                entry = self._entries.setdefault(key, new)
                entry.users += 1
                if self._entries.get(key) is entry:  # not dropped by a collection in between
                    return entry
                entry.users -= 1

    def _drop_unused(self, entry: _Entry[K, E]) -> None:
        if not entry.users and self._entries.get(entry.key) is entry:
            del self._entries[entry.key]

    def _give_back(self, opening: Future[E]) -> None:
        if opening.exception() is None:
            # in a thread: this may run in the event loop, where closing would block
            threading.Thread(target=self.release_now, args=(opening.result(),)).start()
