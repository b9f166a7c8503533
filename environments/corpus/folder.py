"""What review and export take from a corpus folder, and how a whole folder is made.

Each episode comes once, with cleaning's word followed.

Streams, so that a corpus of any size fits; why an episode was left out is counted, never silent.
"""

from __future__ import annotations

import glob
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ...core.errors import RunError
from ...core.files import hold, is_abandoned
from ..episodes.episode import Episode
from ..episodes.log import latest_episodes
from ..episodes.sides import place_of
from .tags import FOLLOW_THE_FILTERS, TAGS_NAME, Choice, TagFile, Tags, cleaned, read_tags

FAILED = "ended in an error"
EMPTY = "nothing was said"
UNTAGGED = "not examined by cleaning"
DROPPED = "dropped in cleaning"


def tags_of(folder: str | Path) -> TagFile | None:
    """The tags of a corpus by episode; None where it was never cleaned."""
    path = place_of(folder).path / TAGS_NAME
    return read_tags(path) if path.is_file() else None


def cleaned_episodes(
    folder: str | Path,
    choose: Choice | None = FOLLOW_THE_FILTERS,
    left_out: Counter[str] | None = None,
) -> Iterator[Episode]:
    """The episodes fit for use: no failed or empty ones, drops left out and trims made.

    Args:
        folder: of the corpus, or a log file, or a side of one.
        choose: which of cleaning's findings count; None takes no notice of them.
        left_out: counts the others by reason.
    """
    left_out = Counter() if left_out is None else left_out
    tags = tags_of(folder) if choose is not None else None
    for episode in latest_episodes(folder):
        own = tags.get(episode.id) if tags is not None else None
        if reason := _unfit(episode, own, choose if tags is not None else None):
            left_out[reason] += 1
            continue
        yield cleaned(episode, own) if choose is not None and choose.trim else episode


def _unfit(episode: Episode, tags: Tags | None, choose: Choice | None) -> str | None:
    if episode.error is not None:
        return FAILED
    if not episode.utterances:
        return EMPTY
    if choose is None or choose.keeps(tags):
        return None
    return UNTAGGED if tags is None else DROPPED


@contextmanager
def new_folder(out: str | Path, *, replace: bool = False) -> Iterator[Path]:
    """A folder to write into that becomes `out` when the block ends well, and vanishes if not.

    Args:
        out: where it will be.
        replace: what is there goes, once the new folder is whole.

    Raises:
        RunError: `out` is there, not empty and not to be replaced, or the disk refuses.
    """
    out = Path(out).absolute()
    with suppress(OSError):  # what stands in the way of writing is reported below
        _clean_up(out)
    if not replace and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(
            f"{out} is there already and not empty",
            hint="a whole folder is written or nothing; choose another, or remove that one",
        )
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    held: int | None = None
    try:
        partial.mkdir(parents=True)
        held = _held(partial)
        yield partial
        _put_in_place(partial, out)
    except OSError as error:
        raise RunError(
            f"cannot write {out}: {error.strerror or error}",
            hint="check the path and the space left on the disk; nothing was left there",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)  # gone already if it was put in place
        if held is not None:
            os.close(held)


def _held(folder: Path) -> int | None:
    """Mark a folder as being written; see `core.files.hold`."""
    if os.name == "nt":
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    hold(descriptor)
    return descriptor


def _clean_up(out: Path) -> None:
    """Remove what processes that were killed left of `out`; bring back what one had set aside."""
    pattern = f".{glob.escape(out.name)}.*"
    for partial in out.parent.glob(f"{pattern}.partial"):
        if is_abandoned(partial):
            shutil.rmtree(partial, ignore_errors=True)
    for old in out.parent.glob(f"{pattern}.old"):
        if old.with_suffix(".partial").exists():
            continue  # its process is putting the new one in place
        if out.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(out)


def _put_in_place(partial: Path, out: Path) -> None:
    """Rename the finished folder; an earlier one goes only when the new one is there."""
    if not out.exists():
        partial.rename(out)
        return
    old = out.with_name(f".{out.name}.{os.getpid()}.old")
    out.rename(old)
    partial.rename(out)
    shutil.rmtree(old)
