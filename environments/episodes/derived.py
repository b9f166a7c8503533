"""What is derived from a log and kept beside it, for as long as the log stays as it was.

The log alone is the truth. What is kept counts only while size, times and inode of the log are those
for which it was made, and is otherwise made anew; it may be deleted at any time, and where it cannot
be written nothing is lost but time.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from ...core.errors import RunError
from ...core.files import write_whole

VERSION = 1
WORTH_KEEPING = 1000
"""Records from which on something is kept beside a log."""

SETTLED = 0.02
"""Seconds after which a change to a file certainly has another time; clocks of file systems tick up
to 10 ms apart."""
COARSE = 2.0
"""The same where a file system counts whole seconds."""


class Signature(NamedTuple):
    """What tells whether a file was changed."""

    size: int
    modified_ns: int
    changed_ns: int
    inode: int

    @classmethod
    def of(cls, file: Path | int) -> Self:
        """The signature of a file, by path or descriptor."""
        found = file.stat() if isinstance(file, Path) else os.fstat(file)
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)

    def unsettled(self) -> float:
        """Seconds for which a further change may still have the same times; 0 if none."""
        last = max(self.modified_ns, self.changed_ns)
        margin = SETTLED if last % 1_000_000_000 else COARSE
        return max(0.0, last / 1e9 + margin - time.time())

    def settle(self) -> bool:
        """Wait until a further change would have other times; False if that takes long."""
        wait = self.unsettled()
        if wait > 2 * SETTLED:
            return False
        time.sleep(wait)
        return True


def derived_path(log: Path, kind: str) -> Path:
    """Where something derived from a log lies: `.episodes.jsonl.index`, for one."""
    return log.with_name(f".{log.name}.{kind}")


def keep_derived(log: Path, kind: str, signature: Signature, data: dict[str, Any]) -> bool:
    """Write what was derived from the log of a signature, if it still has that; whether it was.

    The signature must be settled.
    """
    whole = {"version": VERSION, "log": signature, **data}
    body = json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
    with suppress(RunError, OSError):  # in some folders nothing may be written
        if Signature.of(log) == signature:
            write_whole(derived_path(log, kind), f"{_digest(body)}\n{body}\n")
            return True
    return False


def read_derived(log: Path, kind: str, signature: Signature) -> dict[str, Any] | None:
    """What was kept beside a log, if it is whole and was made for the log of this signature."""
    try:
        text = derived_path(log, kind).read_text("utf-8")
        digest, _, body = text.removesuffix("\n").partition("\n")
        if digest != _digest(body):
            return None
        data = json.loads(body)
        fits = data["version"] == VERSION and Signature(*data["log"]) == signature
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return data if fits else None


def _digest(body: str) -> str:
    return hashlib.blake2b(body.encode("utf-8", "replace"), digest_size=16).hexdigest()
