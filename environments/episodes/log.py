"""The episode log: one line an episode, append-only, safe against being killed at any moment.

A line is written with one `write` call; a torn last line is cut off when the log is opened again. A
full disk leaves the log as it was. Two processes cannot write the same log.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Self

from pydantic import ValidationError

from ...core.errors import ConfigError, DataError
from ...core.files import episode_logs, unread_logs
from ...core.jsonl import LOG_NAME, LineLog, complete_lines, parse_json
from ...core.record import problems_of
from .episode import EPISODE_VERSION, Episode

__all__ = ["LOG_NAME", "EpisodeLog", "iter_episodes", "log_files", "read_episodes"]


class Origin(NamedTuple):
    """What an episode comes from; `source` is empty where it was simulated."""

    seed: int
    config_hash: str
    source: str


class EpisodeLog(LineLog):
    """An open log of episodes.

    Attributes:
        finished: ids of the episodes already in it, with whether they ended in an error.
        origins: what the episodes in it come from: seed, configuration hash, imported source.

    Raises:
        RunError: another process is writing it, or the disk refuses.
        DataError: a line (other than a torn last one) is not an episode.
    """

    holds_episodes = True

    def __init__(self, path: str | Path) -> None:
        super().__init__(path)
        self.finished: dict[str, bool] = {}
        self.origins: set[Origin] = set()

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            for _, line in complete_lines(self.path):
                name, failed, origin = _head(line, self.path)
                self.finished[name] = failed
                self.origins.add(origin)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def append(self, episode: Episode) -> None:
        """Write one finished episode.

        Raises:
            RunError: the disk is full or fails; the log is left as it was before the call.
        """
        self.write_line(episode.to_json(), f"episode '{episode.id}'")
        self.finished[episode.id] = episode.error is not None


def _head(line: str, path: Path) -> tuple[str, bool, Origin]:
    """An episode's id, whether it ended in an error, and what it comes from."""
    try:
        data = parse_json(line)
        name, stop = data["id"], data["stop"]
        if not isinstance(name, str) or not isinstance(stop, str):
            raise TypeError(f"id and stop must be text, not {name!r:.50} and {stop!r:.50}")
        origin = Origin(data.get("seed", 0), data.get("config_hash", ""), data.get("source", ""))
        hash(origin)  # raises where one is a list
        return name, stop == "error", origin
    except (ValueError, KeyError, TypeError, AttributeError) as error:
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
        found = episode_logs(path)
        _name_unread(path, bool(found))
    else:
        found = [path] if path.is_file() else []
    if not found:
        raise DataError(
            "no episode log there",
            file=path,
            hint=f"give a run's folder (it holds {LOG_NAME}) or a log file",
        )
    return found


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
    """Stream the episodes of a run folder or a log file, in the order in which they finished.

    An episode that was tried again after an error comes as often as it was tried; `read_episodes`
    keeps the last.

    Raises:
        DataError: no log, or a line that is not an episode; names file, line and field.
    """
    for file in log_files(path):
        for number, line in complete_lines(file):
            yield _episode(line, file, number)


def read_episodes(path: str | Path) -> list[Episode]:
    """All episodes of a run folder or a log file, each id once, in the order of their first end.

    Raises:
        DataError: no log, or a line that is not an episode; names file, line and field.
    """
    return list({episode.id: episode for episode in iter_episodes(path)}.values())


def _episode(line: str, file: Path, number: int) -> Episode:
    try:
        data = parse_json(line)
    except ValueError as error:
        raise DataError(f"not JSON: {error}", file=file, line=number) from None
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
    except ConfigError as error:  # of a part that checks itself, such as the sampling settings
        raise DataError(error.message, file=file, line=number) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise DataError(
            "; ".join(problems_of(error, Episode)[:3]),
            file=file,
            line=number,
            field=".".join(map(str, first["loc"])),
        ) from None
