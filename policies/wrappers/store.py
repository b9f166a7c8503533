"""Where `cache` keeps replies: one SQLite file, shared by tasks, threads and processes."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sqlite3
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from ...core.errors import DataError, RunError, WarmlineError
from ..base import FinishReason, Reply, TokenLogprob, Usage

T = TypeVar("T")

_OURS = 0x57524D4C  # "WRML", in the file's header
_VERSION = 1
_BUSY = 30.0
"""Seconds to wait for another process that is writing."""
_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
_CREATE = """CREATE TABLE IF NOT EXISTS replies (
    key BLOB PRIMARY KEY,
    reply TEXT NOT NULL,
    stored REAL NOT NULL
)"""


def default_path() -> Path:
    """`replies.sqlite` in the user's cache folder (`XDG_CACHE_HOME`, else `~/.cache`)."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "warmline" / "replies.sqlite"


class ReplyStore:
    """Replies by key. One thread with one connection does the work, so the event loop never waits
    for the disk, and any event loop may use it.

    A reply is durable when `put` returns: write-ahead logging keeps it through a kill of the
    process, though perhaps not through a power cut.

    Args:
        path: the file; made, with its folder, at first use.

    Every method raises `DataError` for a file that is damaged or not ours, and `RunError` for one
    that cannot be read or written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self._thread: ThreadPoolExecutor | None = None
        self._threading = threading.Lock()  # event loops in several threads may share a store
        self._own = threading.local()  # the worker's connection

    async def open(self) -> None:
        """Make or check the file."""
        await self._do(self._connected)

    async def close(self) -> None:
        """Close the file. Safe to call twice; the next use opens it again."""
        with self._threading:
            thread, self._thread = self._thread, None
        if thread is not None:
            await asyncio.get_running_loop().run_in_executor(thread, self._disconnect)
            thread.shutdown(wait=False)

    async def get(self, key: bytes) -> Reply | None:
        """The reply stored under `key`."""
        return await self._do(lambda: self._get(key))

    async def put(self, key: bytes, reply: Reply) -> None:
        """Store a reply. The first one stored under a key stays.

        Whoever is cancelled meanwhile, and be it by the end of the event loop, has it stored all the
        same, and waits for that: it is paid for.
        """
        storing = self._begin(lambda: self._put(key, to_json(reply)))
        try:
            await self._ended(asyncio.shield(storing))
        except asyncio.CancelledError:
            await asyncio.wait([storing])
            raise

    async def count(self) -> int:
        """Replies stored."""
        return await self._do(self._count)

    async def _do(self, work: Callable[[], T]) -> T:
        return await self._ended(self._begin(work))

    def _begin(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Hand work to the thread."""
        with self._threading:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="warmline-cache")
            return asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _ended(self, work: Awaitable[T]) -> T:
        try:
            return await work
        except (sqlite3.Error, OSError) as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> WarmlineError:
        if getattr(error, "sqlite_errorcode", None) in _DAMAGED:
            return DataError(
                f"the cache is damaged, or not a SQLite file ({error})",
                file=self.path,
                hint="move it away, or name another path; the cache only saves work",
            )
        return RunError(
            f"{self.path}: the cache cannot be used ({error})",
            hint="name a path that can be written, on a disk with room",
        )

    def _connected(self) -> sqlite3.Connection:
        held: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if held is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # autocommit: every statement is its own transaction, and no lock outlives one
            held = sqlite3.connect(self.path, timeout=_BUSY, isolation_level=None)
            try:
                self._prepare(held)
            except BaseException:
                held.close()
                raise
            self._own.connection = held
        return held

    def _prepare(self, connection: sqlite3.Connection) -> None:
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE")  # one process makes the table, the others wait
        owner = _pragma(connection, "application_id")
        version = _pragma(connection, "user_version")
        tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if owner != _OURS and (owner or tables):
            raise DataError("not a cache of Warmline", file=self.path, hint="name another path")
        if version > _VERSION:
            raise DataError(
                f"written by a newer Warmline (version {version}, this one reads {_VERSION})",
                file=self.path,
                hint="name another path, or update",
            )
        connection.execute(_CREATE)
        connection.execute(f"PRAGMA application_id = {_OURS}")
        connection.execute(f"PRAGMA user_version = {_VERSION}")
        connection.execute("COMMIT")

    def _disconnect(self) -> None:
        held: sqlite3.Connection | None = getattr(self._own, "connection", None)
        if held is not None:
            held.close()
            self._own.connection = None

    def _get(self, key: bytes) -> Reply | None:
        query = "SELECT reply FROM replies WHERE key = ?"
        row = self._connected().execute(query, (key,)).fetchone()
        if row is None:
            return None
        try:
            return from_json(row[0])
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"not a stored reply: {error!r}", file=self.path, hint="move the file away"
            ) from error

    def _put(self, key: bytes, reply: str) -> None:
        self._connected().execute(
            "INSERT INTO replies VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (key, reply, time.time())
        )

    def _count(self) -> int:
        found: int = self._connected().execute("SELECT count(*) FROM replies").fetchone()[0]
        return found


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging. SQLite does not wait if two connections switch at once."""
    deadline = time.monotonic() + _BUSY
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def to_json(reply: Reply) -> str:
    """A reply as text, without what belongs to one asking only (`latency`, `cached`)."""
    fields = {f.name: getattr(reply, f.name) for f in dataclasses.fields(reply)}
    del fields["latency"], fields["cached"]
    if reply.thinking is None:
        del fields["thinking"]
    fields["usage"] = dataclasses.asdict(reply.usage) if reply.usage else None
    if reply.logprobs is not None:
        fields["logprobs"] = [[entry.token, entry.logprob] for entry in reply.logprobs]
    return json.dumps(fields)


def from_json(text: str) -> Reply:
    """The reply that `to_json` wrote."""
    fields = json.loads(text)
    fields["finish_reason"] = FinishReason(fields["finish_reason"])
    if fields["usage"] is not None:
        fields["usage"] = Usage(**fields["usage"])
    if fields["logprobs"] is not None:
        fields["logprobs"] = tuple(TokenLogprob(token, p) for token, p in fields["logprobs"])
    return Reply(**fields)
