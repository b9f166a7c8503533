"""The file of a study: one SQLite database in WAL mode, one change at a time.

A change is on disk when its call returns, and pages reply only then. Texts that people type live here
alone until results are written.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from ...core.claim import refuse_change
from ...core.errors import DataError, RunError

STUDY_NAME = "study.sqlite"
SCHEMA_VERSION = 1
WAIT_SECONDS = 30.0

_SCHEMA = """
CREATE TABLE study (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE items (id TEXT PRIMARY KEY, place INTEGER NOT NULL, payload TEXT NOT NULL, gold INTEGER NOT NULL);
CREATE TABLE participants (
    id INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, name TEXT NOT NULL UNIQUE,
    external TEXT, session TEXT, stage TEXT NOT NULL, country TEXT NOT NULL, share INTEGER NOT NULL,
    warned INTEGER NOT NULL, made REAL NOT NULL, consented REAL, finished REAL,
    survey TEXT, UNIQUE (external));
CREATE TABLE tasks (
    id TEXT PRIMARY KEY, number INTEGER NOT NULL, item TEXT NOT NULL REFERENCES items (id),
    participant INTEGER NOT NULL REFERENCES participants (id), status TEXT NOT NULL, gold INTEGER NOT NULL,
    assigned REAL NOT NULL, seen REAL NOT NULL, done REAL, UNIQUE (item, participant));
CREATE INDEX tasks_by_status ON tasks (status, item);
CREATE TABLE talks (
    task TEXT PRIMARY KEY REFERENCES tasks (id), version INTEGER NOT NULL, episode TEXT,
    pending TEXT, state TEXT NOT NULL, candidates TEXT, noticed INTEGER NOT NULL,
    failures INTEGER NOT NULL, error TEXT NOT NULL, closed TEXT NOT NULL);
CREATE TABLE answers (
    number INTEGER PRIMARY KEY, task TEXT NOT NULL REFERENCES tasks (id), turn INTEGER NOT NULL,
    dimension TEXT NOT NULL, value REAL, first TEXT NOT NULL, explanation TEXT NOT NULL,
    notes TEXT NOT NULL, at REAL NOT NULL, UNIQUE (task, turn, dimension));
CREATE TABLE checks (
    number INTEGER PRIMARY KEY, participant INTEGER NOT NULL REFERENCES participants (id),
    task TEXT, kind TEXT NOT NULL, passed INTEGER NOT NULL, detail TEXT NOT NULL, at REAL NOT NULL);
CREATE INDEX checks_of ON checks (participant);
CREATE TABLE alarms (
    number INTEGER PRIMARY KEY, participant INTEGER NOT NULL REFERENCES participants (id),
    task TEXT, source TEXT NOT NULL, kinds TEXT NOT NULL, at REAL NOT NULL, told TEXT NOT NULL);
"""
_ADDED = """
CREATE TABLE IF NOT EXISTS adjudicators (participant INTEGER PRIMARY KEY REFERENCES participants (id));
"""
"""What came after studies of version 1 were made; they get it when they are opened."""

OF_PARTICIPANT = ("checks", "alarms", "tasks", "adjudicators")
"""Tables with a column `participant`, in the order in which rows can be deleted after those of tasks."""


class StudyDatabase:
    """An open study. Threads may share it: each has a connection of its own.

    Args:
        folder: of the study.
        identity: what must not change once people have taken part; None opens what is there.
        clock: the time, seconds since 1970.

    Raises:
        DataError: there is none and none is to be made, or the file is no study.
        RunError: it was made with another identity; the differences are shown.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        identity: Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder, self.clock = Path(folder), clock
        self.path = self.folder / STUDY_NAME
        self._local = threading.local()
        self._open: list[sqlite3.Connection] = []
        self._opening = threading.Lock()
        if identity is None and not self.path.is_file():
            raise DataError(
                "no study there",
                file=self.path,
                hint="`warmline serve study.toml` makes it; results are of a study that was served",
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self.close()
            raise DataError(f"cannot be used as a study: {error}", file=self.path) from error
        if identity is not None:
            self._claim(identity)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection; everything is on disk already."""
        with self._opening:
            while self._open:
                self._open.pop().close()
        self._local = threading.local()

    def release(self) -> None:
        """Close this thread's connection, before the thread ends."""
        found: sqlite3.Connection | None = getattr(self._local, "db", None)
        if found is not None:
            with self._opening:
                self._open.remove(found)
            found.close()
            del self._local.db

    @property
    def db(self) -> sqlite3.Connection:
        """This thread's connection."""
        found: sqlite3.Connection | None = getattr(self._local, "db", None)
        if found is None:
            found = sqlite3.connect(
                self.path, timeout=WAIT_SECONDS, isolation_level=None, check_same_thread=False
            )
            found.row_factory = sqlite3.Row
            found.execute("PRAGMA synchronous = FULL")
            found.execute("PRAGMA foreign_keys = ON")
            found.execute("PRAGMA secure_delete = ON")
            with self._opening:
                self._open.append(found)
            self._local.db = found
        return found

    def rows(self, query: str, *values: object) -> list[sqlite3.Row]:
        """All rows of a query."""
        return self.db.execute(query, values).fetchall()

    def row(self, query: str, *values: object) -> sqlite3.Row | None:
        """The first row, or None."""
        found: sqlite3.Row | None = self.db.execute(query, values).fetchone()
        return found

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """One change, alone: others wait for it, and it is on disk when it ends.

        Raises:
            RunError: the file is held or the disk refuses; nothing of the change remains.
        """
        db = self.db
        nested = db.in_transaction
        if nested:  # part of a larger change
            yield db
            return
        try:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")
        except BaseException as error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                raise RunError(
                    f"{self.path} cannot be written: {error}",
                    hint="free some space, or end what holds it, and try again; what was answered is"
                    " kept",
                ) from error
            raise

    def key(self) -> bytes:
        """The study's own random key, made with it: signs forms and draws sides."""
        return bytes.fromhex(self.value("key"))

    def value(self, name: str) -> str:
        """A value that was fixed when the study was made."""
        found = self.row("SELECT value FROM study WHERE name = ?", name)
        if found is None:
            raise DataError(f"lacks '{name}': its making did not end", file=self.path)
        return str(found["value"])

    def _prepare(self) -> None:
        if self._version() == 0:
            self.db.execute("PRAGMA journal_mode = WAL")
            with self.change() as db:
                if self._version() == 0:
                    for statement in _SCHEMA.split(";\n"):
                        db.execute(statement)
                    made = {"key": secrets.token_hex(32), "join": secrets.token_urlsafe(16)}
                    db.executemany("INSERT INTO study VALUES (?, ?)", made.items())
                    db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        if (version := self._version()) != SCHEMA_VERSION:
            self.close()
            raise DataError(
                f"a study of version {version}; this Warmline reads {SCHEMA_VERSION}",
                file=self.path,
                hint="a newer Warmline wrote it; update Warmline to read it",
            )
        if self.row("SELECT 1 FROM sqlite_master WHERE name = 'adjudicators'") is None:
            with self.change() as db:
                db.execute(_ADDED)

    def _claim(self, identity: Mapping[str, Any]) -> None:
        with self.change() as db:
            row = self.row("SELECT value FROM study WHERE name = 'identity'")
            if row is None:
                db.execute(
                    "INSERT INTO study VALUES ('identity', ?)",
                    (json.dumps(identity, sort_keys=True),),
                )
                return
        refuse_change(
            self.folder,
            json.loads(row["value"]),
            json.loads(json.dumps(identity)),
            what="study",
            hint="people have answered under those settings; restore them, or choose another 'out'",
        )

    def _version(self) -> int:
        return int(self.db.execute("PRAGMA user_version").fetchone()[0])
