"""Append-only files of lines, safe against being killed at any moment.

A line is written with one `write` call; a torn last line is cut off when the file is opened again.
A full disk leaves the file as it was. Two processes cannot write the same file. Known secrets are
hidden in every line.
"""

from __future__ import annotations

import errno
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from .errors import ConfigError, DataError, InUse, RunError
from .outside.places import is_url, url_of
from .outside.secrets import hide_secrets
from .outside.text import clean_text

_ESCAPED_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""Escapes of a JSON text, one after the other: both halves of a character, a lone half, any other."""
SYNC_EVERY = 1.0
"""Seconds between flushes to the disk itself; a killed process loses nothing, a power cut this much."""


NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
"""What a file system answers that has no locks, as some network file systems have none."""

LOG_NAME = "episodes.jsonl"

_LOG = re.compile(r"episodes(?:-\d+)?\.jsonl")


def is_log_name(name: str) -> bool:
    """Whether a file of this name is read as an episode log."""
    return _LOG.fullmatch(name) is not None


def refuse_log(path: Path) -> None:
    """Refuse to write anything else onto an episode log.

    Raises:
        RunError: `path` has a log's name, or holds episodes.
    """
    if is_log_name(path.name) or (path.is_file() and _holds_episodes(path)):
        raise RunError(
            f"{path} is an episode log, or has the name of one",
            hint="choose another file for what is to be written",
        )


def _holds_episodes(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.readline(1 << 16)
    return start.startswith(b'{"version":') and b'"scenario":{' in start and b'"stop":' in start


def lock_alone(descriptor: int) -> bool:
    """Lock an open file until it is closed; False if another process has it locked.

    Where there are no locks (Windows, some network file systems), that there is one writer is the
    caller's to see to.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in NO_LOCKS
    return True


class LineLog:
    """An open file of lines, for appending. Use as a context manager.

    Args:
        path: the file; made if it is not there.

    Raises:
        RunError: another process is writing it, the disk refuses, or it is an episode log and this
            is not an `EpisodeLog`.
    """

    holds_episodes = False

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file: IO[bytes] | None = None
        self._synced = 0.0

    def __enter__(self) -> Self:
        refuse_url(self.path)
        if not self.holds_episodes:
            refuse_log(self.path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a+b", buffering=0)
        except OSError as error:
            raise RunError(f"cannot write {self.path}: {error.strerror}") from error
        self._lock(self._file)
        self._refuse_removed(self._file)
        self._repair(self._file)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            with file:  # closed, and with that free for others, whatever the disk says
                os.fsync(file.fileno())
        except OSError as problem:
            said = f"could not write the end of {self.path}: {problem.strerror}"
            if error is None:
                raise RunError(
                    said, hint="see what is wrong with the disk and give the same command again"
                ) from problem
            error.add_note(said)

    def write_line(self, text: str, what: str) -> tuple[int, bytes]:
        """Append one line, whole or not at all; its place in the file, and its bytes.

        Args:
            text: without a line break.
            what: names it in the error.

        Raises:
            RunError: the disk is full or fails; the log is left as it was before the call.
        """
        if self._file is None:
            raise RunError(f"{self.path} is not open")
        try:
            line = (hide_secrets(text) + "\n").encode()
        except UnicodeEncodeError:  # half of a character
            line = (hide_secrets(clean_text(text)) + "\n").encode()
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
        return before, line

    def descriptor(self) -> int:
        """The open file's.

        Raises:
            RunError: it is not open.
        """
        if self._file is None:
            raise RunError(f"{self.path} is not open")
        return self._file.fileno()

    def _lock(self, file: IO[bytes]) -> None:
        if not lock_alone(file.fileno()):
            file.close()
            raise InUse(
                f"{self.path} is being written by another process",
                hint="wait for it, or choose another folder",
            )

    def _refuse_removed(self, file: IO[bytes]) -> None:
        """A start that failed removes its file, and `compact` replaces it; whoever had opened it by
        then must not write it."""
        try:
            removed = not os.path.samestat(os.fstat(file.fileno()), self.path.stat())
        except FileNotFoundError:
            removed = True
        if removed:
            file.close()
            raise RunError(
                f"{self.path} was removed by another process", hint="give the same command again"
            )

    def _repair(self, file: IO[bytes]) -> None:
        """Cut off what a killed process left of its last line; end it if it is whole."""
        end = file.seek(0, os.SEEK_END)
        position, tail = end, b""
        while position > 0 and b"\n" not in tail:
            start = max(0, position - 65536)
            file.seek(start)
            tail = file.read(position - start) + tail
            position = start
        kept = tail.rfind(b"\n") + 1
        if not tail[kept:]:
            return
        if _is_json(tail[kept:]):  # an editor left out the last line break
            file.write(b"\n")
        else:
            file.truncate(position + kept)


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON text from outside; a lone half of a character in it is read as U+FFFD.

    Raises:
        ValueError: it is not JSON, not UTF-8, nested too deeply to be read, or holds a number with
            thousands of digits.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        return json.loads(storable_json(text))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def storable_json(text: str) -> str:
    """A JSON text in which an escaped lone half of a character, such as `\\ud800`, is `\\ufffd`."""
    if _ESCAPED_HALF.search(text) is None:
        return text
    return _ESCAPE.sub(lambda found: r"\ufffd" if found["lone"] else found[0], text)


def complete_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Line number and text of each line of a file of JSON lines; see `placed_lines`."""
    return ((number, line) for number, _, line in placed_lines(path))


def placed_lines(path: Path) -> Iterator[tuple[int, int, str]]:
    """Number, place in bytes, and text of each line of a file of JSON lines.

    Blank lines are left out. An escaped lone half of a character is replaced, see `storable_json`.

    A last line without a line break counts if it is whole JSON, and is otherwise taken for what a
    killed process left.

    Raises:
        DataError: a line is not UTF-8.
    """
    return _placed(path, torn=False)


def every_line(path: Path) -> Iterator[tuple[int, str]]:
    """The same for a file that somebody else wrote: its last line counts in any case."""
    return ((number, line) for number, _, line in _placed(path, torn=True))


def complete_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and value of each line of a file of JSON objects that this program wrote.

    Raises:
        DataError: a line is not a JSON object.
    """
    for number, line in complete_lines(path):
        try:
            value = parse_json(line)
            if not isinstance(value, dict):
                raise ValueError("not an object")
        except ValueError as error:
            raise DataError(
                f"not a JSON object: {error}",
                file=path,
                line=number,
                hint="the file was changed by something else; delete it to make it again",
            ) from None
        yield number, value


def _placed(path: Path, *, torn: bool) -> Iterator[tuple[int, int, str]]:
    return (
        (number, place, line_text(line, path, number))
        for number, place, line in placed_bytes(path, torn=torn)
    )


def placed_bytes(path: Path, *, torn: bool = False) -> Iterator[tuple[int, int, bytes]]:
    """Number, place and bytes of each line, its line break included; see `placed_lines`.

    Args:
        torn: a last line without a line break counts in any case.
    """
    place = 0
    with path.open("rb", buffering=1 << 20) as lines:
        for number, line in enumerate(lines, 1):
            start, place = place, place + len(line)
            if not (line.isspace() or not (torn or line.endswith(b"\n") or _is_json(line))):
                yield number, start, line


def line_text(line: bytes, path: Path, number: int) -> str:
    """The text of a line of JSON; see `storable_json`.

    Raises:
        DataError: it is not UTF-8.
    """
    try:
        return storable_json(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(
            f"not UTF-8: byte 0x{line[error.start]:02x} at position {error.start + 1}",
            file=path,
            line=number,
            hint="the file was damaged or changed by something else; correct the line or"
            " take it out",
        ) from None


def _is_json(line: bytes) -> bool:
    try:
        parse_json(line)
    except ValueError:
        return False
    return True


def refuse_url(path: Path) -> None:
    """Refuse to make a folder that is named like a URL.

    Raises:
        ConfigError: the path was one.
    """
    if is_url(path):
        raise ConfigError(
            f"{url_of(path)}: this work is not written to a store",
            hint="`warmline simulate` and `run_sharded` play into one; give a folder here",
        )
