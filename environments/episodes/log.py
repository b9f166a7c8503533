"""The episode log: one line an episode, append-only, safe against being killed at any moment.

A line is written with one `write` call; a torn last line is cut off when the log is opened again. A
full disk leaves the log as it was. Two processes cannot write the same log.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from ...core.errors import DataError
from ...core.files import episode_logs, unread_logs
from ...core.jsonl import LOG_NAME, LineLog, complete_lines
from .derived import Signature
from .episode import FAILED, Episode
from .index import LogIndex, head_of
from .order import in_order
from .reading import parse_episode
from .sequence import Episodes, counted_records
from .sides import Place, ids_on, place_of

__all__ = [
    "LOG_NAME",
    "EpisodeLog",
    "attempts_of",
    "iter_episodes",
    "latest_episodes",
    "log_files",
    "read_episodes",
]


class EpisodeLog(LineLog):
    """An open log of episodes.

    Attributes:
        index: of what is in it.

    Raises:
        RunError: another process is writing it, or the disk refuses.
        DataError: a line (other than a torn last one) is not an episode.
    """

    holds_episodes = True

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self.index = LogIndex(self.path)

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self.index = LogIndex.of(self.path)
        except BaseException as error:
            super().__exit__(None, None, None)
            if not isinstance(error, DataError):
                raise
            raise DataError(
                f"not an episode record: {error.reason}",
                file=self.path,
                line=error.line,
                field=error.field,
                hint="the log was changed by something else; restore it or choose another folder",
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        self.index.keep()

    @property
    def finished(self) -> Mapping[str, int]:
        """The number of the last record of each episode in it, by id; see `LogIndex`."""
        return self.index.last

    def append(self, episode: Episode) -> int:
        """Write one finished episode; the number of its record.

        Raises:
            RunError: the disk is full or fails; the log is left as it was before the call.
        """
        return self.append_json(episode.to_json(), episode.id)

    def append_json(self, record: str, name: str) -> int:
        """The same of an episode that is written already, such as one from another log."""
        known = self.index.signature
        if known is not None and known != Signature.of(self.descriptor()):
            known = None  # something else wrote to the log: its index is not to be kept
        place, line = self.write_line(record, f"episode '{name}'")
        self.index.signature = known and Signature.of(self.descriptor())
        return self.index.add(head_of(line, self.path, 0), place, len(line))


def log_files(path: str | Path) -> list[Path]:
    """The log files of a run folder (one a worker, where several played), or the one file given.

    Of `PATH:SIDE`, those that hold the side.

    Raises:
        DataError: there is none.
    """
    path = place_of(path).path
    if path.is_dir():
        found = episode_logs(path)
        _name_unread(path, bool(found))
    else:
        found = [path] if path.is_file() else []
    if not found:
        raise DataError(
            "no episode log there",
            file=path,
            hint=_runs_below(path)
            or f"give a run's folder (it holds {LOG_NAME}), a log file, or FOLDER:SIDE of a folder"
            " that `warmline split` divided",
        )
    return found


def _runs_below(path: Path) -> str | None:
    """Which runs the folder holds that was meant, or the one above it."""
    folder = path if path.is_dir() else path.parent
    if not folder.is_dir():
        return None
    names = [each.name for each in sorted(folder.iterdir()) if each.is_dir() and episode_logs(each)]
    return f"'{folder}' holds {', '.join(names[:8])}{' …' * (len(names) > 8)}" if names else None


def _name_unread(folder: Path, others: bool) -> None:
    """Say which files are not read though their names begin as a log's."""
    if not (unread := ", ".join(file.name for file in unread_logs(folder))):
        return
    names = f"logs are named {LOG_NAME} and episodes-<number>.jsonl"
    if not others:
        raise DataError(
            f"no episode log there: {unread} is not read", file=folder, hint=f"{names}; rename it"
        )
    warnings.warn(f"{folder}: {unread} is not read; {names}", stacklevel=3)


def iter_episodes(path: str | Path) -> Iterator[Episode]:
    """Stream the episodes of a run folder, a log file or a side, in the order in which they finished.

    An episode that was tried again after an error comes as often as it was tried; `read_episodes`
    keeps the last.

    Raises:
        DataError: no log, or a line that is not an episode; names file, line and field.
    """
    place = place_of(path)
    if place.side is not None:
        yield from attempts_of(place.path, set(ids_on(place, _whole(place).ids)))
        return
    files = log_files(place.path)
    if len(files) > 1:
        yield from _attempts_in_shards(files)
        return
    for number, line in complete_lines(files[0]):
        yield parse_episode(line, files[0], number)


def _attempts_in_shards(files: Sequence[Path]) -> Iterator[Episode]:
    """Every attempt in several logs, one log after the other, but of an id that ended in two of them
    without an error only the one that counts: it was not tried again, its worker was lost."""
    logs = [LogIndex.of(file) for file in files]
    counted = counted_records(logs)
    for at, log in enumerate(logs):
        kept = (
            number
            for number, name in enumerate(log.ids)
            if log.stop(number) in FAILED or counted[name] == number * len(logs) + at
        )
        yield from Episodes.of_log(log, kept)


def attempts_of(path: str | Path, names: Collection[str]) -> Iterator[Episode]:
    """Every attempt at the episodes with these ids, in log order; no other record is read.

    Raises:
        DataError: see `read_episodes`.
    """
    place = place_of(path)
    if place.side is not None:
        names = set(names).intersection(ids_on(place, _whole(place).ids))
    for file in log_files(place.path):
        index = LogIndex.of(file)
        yield from Episodes.of_log(index, (n for n, i in enumerate(index.ids) if i in names))


def latest_episodes(path: str | Path) -> Iterator[Episode]:
    """Each id once, its last attempt, in the order of the last attempts.

    Raises:
        DataError: see `read_episodes`.
    """
    yield from read_episodes(path).in_log_order()


def read_episodes(path: str | Path) -> Episodes:
    """The episodes of a run folder or a log file, each id once.

    They come in the order of their first end; those of a run that several workers played in the
    order of its scenarios.

    Their records are read when they are asked for; `list(read_episodes(path))` reads them all.

    Args:
        path: or `PATH:SIDE`, for one side of it; see `sides.py`.

    Raises:
        DataError: no log, or a line that is not an episode; names file, line and field. A wrong
            field within an episode is found when the episode is read. No such side, or a split
            that does not fit the log.
    """
    place = place_of(path)
    episodes = _whole(place)
    if place.side is None:
        return episodes
    ids = episodes.ids
    chosen = set(ids_on(place, ids))
    return episodes.take(n for n, name in enumerate(ids) if name in chosen)


def _whole(place: Place) -> Episodes:
    found = Episodes.of_files(log_files(place.path))
    return in_order(place.path, found) if place.path.is_dir() else found
