"""Small files written in one step, and what identifies a file."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path

from .errors import RunError


def write_whole(path: Path, text: str) -> None:
    """Replace a small file in one step, so that a kill leaves the old one or the new one.

    Raises:
        RunError: the disk refuses.
    """
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, "utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise RunError(
            f"cannot write {path}: {error.strerror}",
            hint="check the path and the space left on the disk",
        ) from error


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
