"""The file under the review store: opening, its schema and version, and one change at a time."""

from __future__ import annotations

import datetime as dt
import sqlite3
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ....core.errors import DataError, RunError

STORE_NAME = "review.sqlite"
SCHEMA_VERSION = 1
WAIT_SECONDS = 30.0
"""How long a change waits for another reviewer's change to finish."""

_SCHEMA = """
CREATE TABLE rule (required INTEGER NOT NULL, seed INTEGER NOT NULL);
CREATE TABLE episodes (id TEXT PRIMARY KEY, version INTEGER NOT NULL, item TEXT NOT NULL);
CREATE TABLE decisions (
    number INTEGER PRIMARY KEY, episode TEXT NOT NULL REFERENCES episodes (id),
    version INTEGER NOT NULL, reviewer TEXT NOT NULL, verdict TEXT NOT NULL,
    reason TEXT NOT NULL, at TEXT NOT NULL);
CREATE INDEX decisions_of ON decisions (episode, number);
CREATE TABLE edits (
    number INTEGER PRIMARY KEY, episode TEXT NOT NULL REFERENCES episodes (id),
    version INTEGER NOT NULL, utterance INTEGER NOT NULL, before TEXT NOT NULL,
    after TEXT NOT NULL, reviewer TEXT NOT NULL, reason TEXT NOT NULL, at TEXT NOT NULL,
    UNIQUE (episode, version));
CREATE TABLE skips (
    number INTEGER PRIMARY KEY, episode TEXT NOT NULL REFERENCES episodes (id),
    reviewer TEXT NOT NULL, at TEXT NOT NULL);
"""

_ADDED = """
CREATE TABLE IF NOT EXISTS rulings (
    number INTEGER PRIMARY KEY, episode TEXT NOT NULL REFERENCES episodes (id),
    version INTEGER NOT NULL, reviewer TEXT NOT NULL, verdict TEXT NOT NULL,
    reason TEXT NOT NULL, at TEXT NOT NULL, UNIQUE (episode, version));
"""
"""What came after stores of version 1 were made; they get it when they are opened."""


def utc_now() -> str:
    """The time as the store writes it."""
    return dt.datetime.now(dt.UTC).isoformat(timespec="seconds")


def store_path(folder: str | Path) -> Path:
    """Where the store of a corpus lies."""
    return Path(folder) / STORE_NAME


def review_started(folder: str | Path) -> bool:
    """Whether a corpus is under review. A start that was killed or found the disk full is none.

    Raises:
        DataError: a file lies there that is not a review store.
    """
    if not store_path(folder).is_file():
        return False
    with ReviewDatabase(folder) as database:
        return database.enrolled() > 0


def remove_store(folder: str | Path) -> None:
    """Take away the store of a review that could not be started."""
    path = store_path(folder)
    for file in (path, *(path.with_name(f"{path.name}-{part}") for part in ("wal", "shm"))):
        file.unlink(missing_ok=True)


def reviewer_key(name: str) -> str:
    """What two spellings of one reviewer's name share: case, width, spaces and invisible characters
    do not count."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    shown = "".join(c for c in plain if unicodedata.category(c) not in ("Cf", "Cc"))
    return " ".join(shown.split())


class ReviewDatabase:
    """An open review store as rows; `ReviewStore` gives them their meaning.

    Args:
        folder: of the corpus.
        create: make the store if it is not there.
        clock: gives the time of a decision, UTC in ISO 8601.

    Raises:
        DataError: there is no store and none is to be made; or the file is not a review store.
    """

    def __init__(
        self, folder: str | Path, *, create: bool = False, clock: Callable[[], str] = utc_now
    ) -> None:
        self.path = store_path(folder)
        self.clock = clock
        if not create and not self.path.is_file():
            raise DataError(
                "no review was started there",
                file=self.path,
                hint="`warmline review start FOLDER` enrols a corpus",
            )
        self.path.parent.mkdir(parents=True, exist_ok=True)
        made = not self.path.exists()
        self._db = sqlite3.connect(self.path, timeout=WAIT_SECONDS, isolation_level=None)
        self._db.row_factory = sqlite3.Row
        try:
            self._prepare()
        except (sqlite3.DatabaseError, RunError) as error:
            self._db.close()
            if made:
                remove_store(folder)
            if isinstance(error, RunError):
                raise
            raise DataError(f"cannot be used as a review store: {error}", file=self.path) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; everything is on disk already."""
        self._db.close()

    def _prepare(self) -> None:
        self._db.execute("PRAGMA synchronous = FULL")
        if self._schema_version() == 0:
            self._db.execute("PRAGMA journal_mode = WAL")
            with self._change():
                if self._schema_version() == 0:  # another process may have been quicker
                    for statement in _SCHEMA.split(";\n"):
                        self._db.execute(statement)
                    self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        if (version := self._schema_version()) != SCHEMA_VERSION:
            self._db.close()
            raise DataError(
                f"review store of version {version}; this Warmline reads {SCHEMA_VERSION}",
                file=self.path,
                hint="a newer Warmline wrote it; update Warmline to read it",
            )
        known = "SELECT 1 FROM sqlite_master WHERE name = 'rulings'"
        if self._db.execute(known).fetchone() is None:
            with self._change():
                self._db.execute(_ADDED)

    def enrolled(self) -> int:
        """Number of dialogues under review."""
        return int(self._db.execute("SELECT COUNT(*) FROM episodes").fetchone()[0])

    def _spellings(self) -> dict[str, str]:
        """The spelling under which each reviewer first decided, by `reviewer_key`."""
        first: dict[str, str] = {}
        for table in ("decisions", "edits", "skips", "rulings"):
            query = f"SELECT reviewer FROM {table} GROUP BY reviewer ORDER BY MIN(number)"  # noqa: S608
            for row in self._db.execute(query):
                first.setdefault(reviewer_key(row["reviewer"]), row["reviewer"])
        return first

    def _schema_version(self) -> int:
        return int(self._db.execute("PRAGMA user_version").fetchone()[0])

    def _rule(self) -> sqlite3.Row:
        row = self._db.execute("SELECT required, seed FROM rule").fetchone()
        if row is None:
            raise DataError("no review was started there", file=self.path, hint="call start()")
        return row  # type: ignore[no-any-return]

    def _rows(self, table: str, episode: str | None) -> Iterator[dict[str, Any]]:
        where, values = ("", ()) if episode is None else ("WHERE episode = ?", (episode,))
        query = f"SELECT * FROM {table} {where} ORDER BY number"  # noqa: S608 - our own names
        spelling = self._spellings()
        for row in self._db.execute(query, values):
            fields = dict(row)
            del fields["number"]
            fields["reviewer"] = spelling[reviewer_key(row["reviewer"])]
            yield fields

    @contextmanager
    def _change(self) -> Iterator[None]:
        """One change, alone: other writers wait for it, and it is on disk when it ends."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise RunError(
                f"{self.path} cannot be changed: {error}",
                hint="another process holds it; try again, nothing was lost",
            ) from error
        with self._ending():
            yield

    @contextmanager
    def _reading(self) -> Iterator[None]:
        self._db.execute("BEGIN")
        with self._ending():
            yield

    @contextmanager
    def _ending(self) -> Iterator[None]:
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException as error:
            if self._db.in_transaction:  # a full disk ends it by itself
                self._db.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError):
                raise RunError(
                    f"{self.path} cannot be written: {error}",
                    hint="free some space and try again; what was said before is kept",
                ) from error
            raise
