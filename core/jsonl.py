"""Append-only files of lines, safe against being killed at any moment.

A line is written with one `write` call and counts only if it ends in a line break; a torn last line
is cut off when the file is opened again. A full disk leaves the file as it was. Two processes cannot
write the same file.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from .errors import RunError

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


def complete_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line number and text of each complete line; a torn last line is left out."""
    with path.open(encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            if line.endswith("\n"):
                yield number, line
