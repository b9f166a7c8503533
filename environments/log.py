"""The episode log: one line an episode, append-only, safe against being killed at any moment.

A line is written with one `write` call and counts only if it ends in a line break; a torn last line
is cut off when the log is opened again. A full disk leaves the log as it was. Two processes cannot
write the same log.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from pydantic import ValidationError

from ..policies.errors import DataError, RunError
from .episode import EPISODE_VERSION, Episode
from .scenarios import problems_of

LOG_NAME = "episodes.jsonl"
SYNC_EVERY = 1.0
"""Seconds between flushes to the disk itself; a killed process loses nothing, a power cut this much."""


class LineLog:
    """An open file of lines, for appending. Use as a context manager.

    Args:
        path: the file; made if it is not there.

    Raises:
        RunError: another process is writing it, or the disk refuses.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: IO[bytes] | None = None
        self._synced = 0.0

    def __enter__(self) -> Self:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b", buffering=0)
        except OSError as error:
            raise RunError(f"cannot write {self.path}: {error.strerror}") from error
        self._lock(self._file)
        self._repair(self._file)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None

    def write_line(self, text: str, what: str) -> None:
        """Append one line, whole or not at all.

        Args:
            text: without a line break.
            what: names it in the error.

        Raises:
            RunError: the disk is full or fails; the log is left as it was before the call.
        """
        if self._file is None:
            raise RunError(f"{self.path} is not open")
        line = (text + "\n").encode()
        before = self._file.seek(0, os.SEEK_END)
        try:
            written = self._file.write(line)
            if written != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if time.monotonic() - self._synced > SYNC_EVERY:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            with suppress(OSError):  # a torn line that stays is cut off at the next opening
                self._file.truncate(before)
            raise RunError(
                f"could not write {what} to {self.path}: {error.strerror}",
                hint="free some space and give the same command again; nothing finished is lost",
            ) from error

    def _lock(self, file: IO[bytes]) -> None:
        try:
            import fcntl
        except ImportError:  # Windows has no flock; there the lock is left out
            return
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            raise RunError(
                f"{self.path} is being written by another process",
                hint="wait for it, or choose another folder",
            ) from error

    def _repair(self, file: IO[bytes]) -> None:
        """Cut off what a killed process left of its last line."""
        end = file.seek(0, os.SEEK_END)
        position, tail = end, b""
        while position > 0 and b"\n" not in tail:
            start = max(0, position - 65536)
            file.seek(start)
            tail = file.read(position - start) + tail
            position = start
        keep = position + tail.rfind(b"\n") + 1
        if keep < end:
            file.truncate(keep)


class EpisodeLog(LineLog):
    """An open log of episodes.

    Attributes:
        finished: ids of the episodes already in it, with whether they ended in an error.

    Raises:
        RunError: another process is writing it, or the disk refuses.
        DataError: a line (other than a torn last one) is no episode.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self.finished: dict[str, bool] = {}

    def __enter__(self) -> Self:
        super().__enter__()
        for _, line in complete_lines(self.path):
            head = _head(line, self.path)
            self.finished[head["id"]] = head["stop"] == "error"
        return self

    def append(self, episode: Episode) -> None:
        """Write one finished episode.

        Raises:
            RunError: the disk is full or fails; the log is left as it was before the call.
        """
        self.write_line(episode.to_json(), f"episode '{episode.id}'")
        self.finished[episode.id] = episode.error is not None


def complete_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line number and text of each complete line; a torn last line is left out."""
    with path.open(encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            if line.endswith("\n"):
                yield number, line


def _head(line: str, path: Path) -> dict[str, str]:
    try:
        data = json.loads(line)
        return {"id": data["id"], "stop": data["stop"]}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"not an episode record: {error!r}",
            file=path,
            hint="the log was changed by something else; restore it or choose another folder",
        ) from error


def log_files(path: str | Path) -> list[Path]:
    """The log files of a run folder (one a worker on a cluster), or the one file given.

    Raises:
        DataError: there is none.
    """
    path = Path(path)
    if path.is_dir():
        found = sorted(path.glob("episodes*.jsonl"))
    else:
        found = [path] if path.is_file() else []
    if not found:
        raise DataError(
            "no episode log there",
            file=path,
            hint=f"give a run's folder (it holds {LOG_NAME}) or a log file",
        )
    return found


def iter_episodes(path: str | Path) -> Iterator[Episode]:
    """Stream the episodes of a run folder or a log file, in the order in which they finished.

    An episode that was tried again after an error comes as often as it was tried; `read_episodes`
    keeps the last.

    Raises:
        DataError: no log, or a line that is no episode; names file, line and field.
    """
    for file in log_files(path):
        for number, line in complete_lines(file):
            yield _episode(line, file, number)


def read_episodes(path: str | Path) -> list[Episode]:
    """All episodes of a run folder or a log file, each id once, in the order of their first end.

    Raises:
        DataError: no log, or a line that is no episode; names file, line and field.
    """
    return list({episode.id: episode for episode in iter_episodes(path)}.values())


def _episode(line: str, file: Path, number: int) -> Episode:
    try:
        data = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"not JSON: {error.msg}", file=file, line=number) from None
    version = data.get("version") if isinstance(data, dict) else None
    if version is None:
        raise DataError(
            "not an episode record: it has no version",
            file=file,
            line=number,
            field="version",
            hint="`warmline import` makes episodes of recorded dialogues in other forms",
        )
    if version != EPISODE_VERSION:
        raise DataError(
            f"episode version {version!r}; this Warmline reads version {EPISODE_VERSION}",
            file=file,
            line=number,
            field="version",
            hint="a newer Warmline wrote this log; update Warmline to read it",
        )
    try:
        return Episode.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise DataError(
            "; ".join(problems_of(error, Episode)[:3]),
            file=file,
            line=number,
            field=".".join(map(str, first["loc"])),
        ) from None
