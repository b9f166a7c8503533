"""Small files read and written whole, what identifies a file, and which files are episode logs.

Every fault of a file from outside (not UTF-8, not JSON or TOML, nested too deeply) is a `DataError`.
"""

from __future__ import annotations

import glob
import hashlib
import os
import secrets
import time
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .errors import DataError, InUse, RunError
from .jsonl import is_log_name, lock_alone, parse_json, refuse_log
from .outside.secrets import hide_secrets
from .outside.text import clean_text


def write_whole(path: Path, text: str | Iterable[str], *, holds_episodes: bool = False) -> None:
    """Replace a file in one step, so that a kill leaves the old one or the new one.

    Known secrets are hidden in it.

    Args:
        text: all of it, or its lines one after the other.
        holds_episodes: the text is a copy of episodes, which may be made anew; nothing else
            replaces an episode log.

    Raises:
        RunError: the disk refuses, or an episode log lies there.
    """
    if not holds_episodes:
        refuse_log(path)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f"{glob.escape(path.name)}.{'[0-9a-f]' * 8}.partial"):
            if is_abandoned(left):
                left.unlink(missing_ok=True)
        with partial.open("w", encoding="utf-8") as file:
            hold(file.fileno())
            for part in (text,) if isinstance(text, str) else text:
                file.write(hide_secrets(clean_text(part)))
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):  # nothing to remove where the folder itself is the fault
            partial.unlink(missing_ok=True)
        raise RunError(
            f"cannot write {path}: {error.strerror}",
            hint="check the path and the space left on the disk",
        ) from error


ABANDONED_AFTER = 1.0
"""Seconds: what is younger may have been made by a process that has not locked it yet."""


def hold(descriptor: int) -> None:
    """Mark a half-written file or folder as belonging to a living process, until it is closed."""
    with suppress(ImportError, OSError):  # Windows, and file systems without locks
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_abandoned(partial: Path) -> bool:
    """Whether a half-written file or folder was left by a process that was killed: nobody holds it.

    False where that cannot be known (Windows, and file systems without locks).
    """
    try:
        import fcntl

        descriptor = os.open(partial, os.O_RDONLY)
    except (ImportError, OSError):
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return time.time() - os.fstat(descriptor).st_mtime > ABANDONED_AFTER
    except OSError:
        return False
    finally:
        os.close(descriptor)


@contextmanager
def lock_file(path: Path, refusal: InUse, *, wait: float = 0.0) -> Iterator[None]:
    """Around work that one process at a time may do: a locked file, which is gone afterwards.

    One that a killed process left is not locked any more, and is taken. Where there are no locks
    (Windows, some network file systems) nobody is refused.

    Args:
        wait: seconds for which one that is killed may take to end.

    Raises:
        InUse: `refusal`, where another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + wait
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if not lock_alone(descriptor):
            os.close(descriptor)
            if time.monotonic() >= until:
                raise refusal
            time.sleep(0.1)
            continue
        if _lies_at(descriptor, path):
            break
        os.close(descriptor)  # whoever held it took it away after it was opened here
    try:
        yield
    finally:
        if os.name != "nt":  # while it is locked; Windows takes no open file away
            path.unlink(missing_ok=True)
        os.close(descriptor)
        if os.name == "nt":
            path.unlink(missing_ok=True)


def is_held(lock: Path) -> bool:
    """Whether a process holds a file as `lock_file` does; False where there are no locks."""
    try:
        descriptor = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not lock_alone(descriptor)
    finally:
        os.close(descriptor)


def _lies_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def sha256_of(path: str | Path) -> str:
    """The digest of a file in hex; of a folder, of its files' names and digests."""
    path = Path(path)
    if path.is_dir():
        listed = "\n".join(
            f"{f.name} {sha256_of(f)}" for f in sorted(path.iterdir()) if f.is_file()
        )
        return hashlib.sha256(listed.encode()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_text(path: str | Path) -> str:
    """The text of a file.

    Raises:
        DataError: it cannot be opened, or is not UTF-8; names the line.
    """
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=path) from error
    try:
        return raw.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"not UTF-8: byte 0x{raw[error.start]:02x}", file=path, line=line) from None


def read_json(path: str | Path) -> Any:
    """The value of a JSON file.

    Raises:
        DataError: not UTF-8, or not JSON that can be read.
    """
    try:
        return parse_json(read_text(path))
    except ValueError as error:
        raise DataError(f"not JSON: {error}", file=path) from None


def parse_toml(text: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises:
        ValueError: it is not TOML, nested too deeply, or holds a number with thousands of digits.
    """
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_toml(path: str | Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        DataError: not UTF-8, or not TOML that can be read.
    """
    try:
        return parse_toml(read_text(path))
    except ValueError as error:
        raise DataError(f"not TOML: {error}", file=path) from None


def episode_logs(folder: Path) -> list[Path]:
    """The logs of a folder: `episodes.jsonl`, and `episodes-<number>.jsonl` of a run in parts."""
    return [file for file in sorted(folder.glob("episodes*.jsonl")) if is_log_name(file.name)]


def unread_logs(folder: Path) -> list[Path]:
    """Files that look like logs but are not read, such as `episodes-backup.jsonl`."""
    return [file for file in sorted(folder.glob("episodes*.jsonl")) if not is_log_name(file.name)]
