"""The logs of a run's workers made into one: `episodes.jsonl`, in the order of the scenarios."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import DataError, RunError
from ...core.files import episode_logs
from ...core.outside.places import is_url
from ...core.shards.on_slurm import refuse_active
from ...core.shards.status import at_work
from ...core.stores.store import kept
from ..episodes.derived import derived_path
from ..episodes.index import INDEX, LogIndex
from ..episodes.log import LOG_NAME, EpisodeLog, read_episodes
from ..episodes.order import ORDER_NAME
from ..runs.folder import SHARDS_NAME
from ..runs.summary import TOTALS


@dataclass(frozen=True, slots=True)
class Compacted:
    """What `compact` did.

    Attributes:
        episodes: records in the one log that is left.
        logs: that it was made of.
        dropped: records that do not count: attempts that failed and were played again, and what was
            written twice by a worker that was lost.
    """

    episodes: int
    logs: int
    dropped: int


def compact(folder: str | Path) -> Compacted:
    """Make one log of a run's logs, each id once, byte for byte as its record was written.

    A kill at any moment leaves a folder that reads as before; the same call again finishes.

    Raises:
        DataError: no folder, no log, or a line that is not an episode.
        RunError: workers are playing the run, or the disk is full.
    """
    if is_url(folder):
        with kept(folder, meanwhile=False) as store:
            assert store is not None
            made = compact(store.folder)
            if made.logs > 1:
                store.replace_logs()
        return made
    folder = Path(folder)
    if not folder.exists():
        raise DataError("there is no such folder", file=folder, hint="give a run's folder")
    if not folder.is_dir():
        raise DataError(
            "a run's folder is compacted", file=folder, hint="give the folder, not a log in it"
        )
    refuse_active(folder / SHARDS_NAME)
    working = at_work(folder / SHARDS_NAME)
    if working:
        raise RunError(
            f"{folder} is being played by workers {', '.join(map(str, working))}",
            hint="wait until `warmline status` says that they have ended",
        )
    target = folder / LOG_NAME
    with ExitStack() as stack:
        files = episode_logs(folder)
        logs = [stack.enter_context(EpisodeLog(f)).index for f in files]  # nobody else writes them
        episodes = read_episodes(folder)
        if len(logs) > 1 or (folder / ORDER_NAME).is_file():
            partial = folder / f"{LOG_NAME}.partial"
            try:
                with partial.open("wb") as written:
                    for line in _lines(logs, episodes.places()):
                        written.write(line)
                    written.flush()
                    os.fsync(written.fileno())
                partial.replace(target)
            except OSError as error:
                partial.unlink(missing_ok=True)
                raise RunError(f"cannot write {target}: {error.strerror}") from error
            for file in files:
                _forget(file, keep=file == target)
            (folder / ORDER_NAME).unlink(missing_ok=True)
    shutil.rmtree(folder / SHARDS_NAME, ignore_errors=True)
    return Compacted(len(episodes), len(logs), sum(map(len, logs)) - len(episodes))


def _lines(logs: list[LogIndex], places: Iterator[tuple[LogIndex, int]]) -> Iterator[bytes]:
    """The records at these places, as they were written."""
    with ExitStack() as stack:
        opened = {log.path: stack.enter_context(log.opened()) for log in logs}
        for log, number in places:
            start, length = log.place(number)
            opened[log.path].seek(start)
            line = opened[log.path].read(length)
            yield line if line.endswith(b"\n") else line + b"\n"


def _forget(file: Path, *, keep: bool) -> None:
    """Take away a log that is in another one now, and what was derived from it."""
    for kind in (INDEX, TOTALS):
        derived_path(file, kind).unlink(missing_ok=True)
    if not keep:
        file.unlink(missing_ok=True)
