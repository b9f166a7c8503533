"""A run's folder kept in a store: `s3://bucket/run`, or any other URL that fsspec knows.

A run is played in a working copy on this machine. While it is played, what is new goes to the store
every few seconds: whole lines of logs, appended where the store can append, and otherwise as numbered
parts (`episodes-0001.jsonl.parts/<place of its first byte>`); everything else whole. Whoever reads a
URL gets a copy of his own, to which only what is missing is fetched. No locks of the store are used:
one command at a time plays into a URL, and `writer.json` there says which.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import ConfigError, DataError, MissingExtra, RunError
from ..files import episode_logs
from ..jsonl import LineLog, is_log_name
from ..outside.places import is_url, url_of

PUSH_EVERY = 5.0
"""Seconds between two pushes; as much is played again where the machine itself is lost."""
WRITER = "writer.json"
WRITER_SILENT = 60.0
"""Seconds after which a writer of another machine that says nothing is taken for lost."""
PARTS = ".parts"
APPENDING = frozenset({"file", "local", "hdfs", "webhdfs"})
"""Protocols of stores that append to a file without writing all of it again."""


def folder_of(place: str | Path) -> Path:
    """The folder in which a run is played: the place itself, or the working copy of a URL."""
    return _copy(place, "played") if is_url(place) else Path(place)


def copy_of(place: str | Path) -> Path:
    """The place itself; of a URL a copy to read, with all that is in the store by now.

    Raises:
        DataError: nothing is there, or a log has a gap.
        MissingExtra, RunError: see `Store`.
    """
    if not is_url(place):
        return Path(place)
    folder = _copy(place, "read")
    Store(place, folder).fetch(follow=True)
    return folder


@contextmanager
def kept(place: str | Path, *, meanwhile: bool = True) -> Iterator[Store | None]:
    """Play into a place: of a URL, the working copy is filled before, and kept in the store.

    Args:
        meanwhile: send what is new while the work goes on, and not in the end alone.

    Raises:
        RunError: another command plays into it, or the store refuses.
        MissingExtra, ConfigError: see `Store`.
    """
    if not is_url(place):
        yield None
        return
    folder = folder_of(place)
    store = Store(place, folder)
    with LineLog(folder / "store.jsonl"):
        store.claim()
        store.fetch()
        ended = threading.Event()
        pushing = threading.Thread(target=store.keep_pushing, args=(ended,), daemon=True)
        if meanwhile:
            pushing.start()
        try:
            yield store
        finally:
            ended.set()
            if meanwhile:
                pushing.join()
            store.push()
            store.leave()


def _copy(place: str | Path, use: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = hashlib.sha256(url_of(place).encode()).hexdigest()[:16]
    return cache / "warmline" / "stores" / f"{name}-{use}"


class Store:
    """A folder of a store, and its copy on this machine.

    Args:
        place: URL of the folder.
        folder: the copy.

    Raises:
        MissingExtra: fsspec, or what it needs for S3, is not installed.
        ConfigError: fsspec knows no such store, or needs a package for it that no extra of ours has.
    """

    def __init__(self, place: str | Path, folder: Path) -> None:
        self.url, self.folder = url_of(place), folder
        self._appending = self.url.partition(":")[0] in APPENDING
        try:
            import fsspec

            self._files, self._root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        except ImportError as error:
            if error.name == "fsspec" or self.url.startswith(("s3:", "s3a:")):
                raise MissingExtra(self.url, extra="store") from error
            raise ConfigError(
                f"{self.url} needs a package that is not installed", hint=str(error)
            ) from error
        except ValueError as error:
            raise ConfigError(f"{self.url}: {error}", hint="such as s3://bucket/run") from error
        self._sent: dict[str, int] = {}
        self._seen: dict[str, tuple[int, int]] = {}

    # From the store

    def fetch(self, *, follow: bool = False) -> None:
        """Bring the copy up to date.

        Args:
            follow: the copy is for reading: it becomes what the store has. Otherwise what it has
                beyond that stays, and a log that the store has otherwise is kept beside it.

        Raises:
            DataError: (with `follow`) nothing is there; or a log has a gap.
            RunError: the store refuses.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._refusals("read"):
            whole, logs = self._listed()
            if follow and not whole and not logs:
                raise DataError("nothing there", file=self.url, hint="is the URL right?")
            for name, size in whole.items():
                self._fetch_whole(name, size)
            for name, parts in logs.items():
                self._fetch_log(name, parts, follow=follow)
        if follow:
            for file in episode_logs(self.folder):
                if file.name not in logs:
                    file.unlink()

    def _listed(self) -> tuple[dict[str, int], dict[str, list[tuple[int, int, str]]]]:
        """Sizes of whole files by name; and of each log the place, size and path of its parts."""
        whole: dict[str, int] = {}
        logs: dict[str, list[tuple[int, int, str]]] = {}
        found = self._files.find(self._root, detail=True) if self._files.exists(self._root) else {}
        for path, about in sorted(found.items()):
            name = path[len(self._root) :].strip("/")
            log, slash, part = name.partition(f"{PARTS}/")
            if slash and part.isdigit():
                logs.setdefault(log, []).append((int(part), about["size"], path))
            elif is_log_name(name):
                logs[name] = [(0, about["size"], path)]
            elif name != WRITER:
                whole[name] = about["size"]
        return whole, logs

    def _fetch_whole(self, name: str, size: int) -> None:
        file = self.folder / name
        data = self._files.cat_file(f"{self._root}/{name}")
        if not file.is_file() or file.read_bytes() != data:
            file.parent.mkdir(parents=True, exist_ok=True)
            partial = file.with_name(f".{file.name}.fetched")
            partial.write_bytes(data)
            partial.replace(file)

    def _fetch_log(self, name: str, parts: list[tuple[int, int, str]], *, follow: bool) -> None:
        file, end = self.folder / name, 0
        for place, size, path in parts:
            if place != end:
                raise DataError(
                    f"the log has a gap: {end} bytes, then a part that begins at {place}", file=path
                )
            end = place + size
        own = _whole_lines(file)
        if own and not self._agrees(file, own, parts):
            if follow:
                file.unlink()
            else:
                file.rename(_unused(self.folder))
            own = 0
        if own < end:
            with file.open("r+b" if file.is_file() else "wb") as lines:
                lines.truncate(own)
                lines.seek(own)
                for place, size, path in parts:
                    if place + size > own:
                        lines.write(self._files.cat_file(path)[max(0, own - place) :])
        elif follow and own > end:
            file.unlink()
            self._fetch_log(name, parts, follow=follow)
        self._sent[name] = end

    def _agrees(self, file: Path, own: int, parts: list[tuple[int, int, str]]) -> bool:
        """Whether the copy's lines are the store's, by the last part that both have."""
        place, _, path = [part for part in parts if part[0] < own][-1]
        theirs = self._files.cat_file(path)[: own - place]
        with file.open("rb") as lines:
            lines.seek(place)
            return bool(lines.read(len(theirs)) == theirs)

    # To the store

    def keep_pushing(self, ended: threading.Event) -> None:
        """Push every few seconds. A store that refuses is asked again, at the latest in the end."""
        while not ended.wait(PUSH_EVERY):
            try:
                self.push()
                self.claim()
            except RunError:
                continue

    def push(self) -> None:
        """Send what the copy has and the store has not.

        Raises:
            RunError: the store refuses; the copy has everything, and the same command sends it.
        """
        with self._refusals("write"):
            for file in episode_logs(self.folder):
                self._push_log(file)
            others = [f for f in self.folder.iterdir() if f.suffix in (".toml", ".json")]
            others += [self.folder / "order.jsonl", *self.folder.glob("shards/*.json")]
            for file in others:
                self._push_whole(file)

    def _push_log(self, file: Path) -> None:
        sent = self._sent.get(file.name, 0)
        new = _whole_lines(file) - sent
        if new <= 0:
            return
        with file.open("rb") as lines:
            lines.seek(sent)
            data = lines.read(new)
        path = f"{self._root}/{file.name}"
        if self._appending:
            self._files.makedirs(self._root, exist_ok=True)
            with self._files.open(path, "ab") as there:
                there.write(data)
        else:
            self._files.pipe_file(f"{path}{PARTS}/{sent:020d}", data)
        self._sent[file.name] = sent + new

    def _push_whole(self, file: Path) -> None:
        try:
            about = file.stat()
            data = file.read_bytes()
        except FileNotFoundError:
            return
        name = file.relative_to(self.folder).as_posix()
        if self._seen.get(name) != (about.st_size, about.st_mtime_ns):
            self._files.makedirs(f"{self._root}/{name}".rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(f"{self._root}/{name}", data)
            self._seen[name] = (about.st_size, about.st_mtime_ns)

    def replace_logs(self) -> None:
        """Have the store keep the copy's one log, under a name that is free there, and no other.

        A kill in between leaves both, which read as before.
        """
        with self._refusals("write"):
            _, before = self._listed()
            [file] = episode_logs(self.folder)
            free = _unused(self.folder, set(before))
            file.rename(free)
            self._sent = {}
            self._push_log(free)
            for name, parts in before.items():
                for _, _, path in parts:
                    self._files.rm_file(path)
                self._sent.pop(name, None)
            if self._files.exists(order := f"{self._root}/order.jsonl"):
                self._files.rm_file(order)

    # One command at a time

    def claim(self) -> None:
        """Say who plays into the store.

        Raises:
            RunError: somebody else does.
        """
        path = f"{self._root}/{WRITER}"
        me = {"host": socket.gethostname(), "updated": time.time()}
        with self._refusals("write"):
            said: dict[str, Any] = {}
            if self._files.exists(path):
                said = json.loads(self._files.cat_file(path))
            other = said.get("host", me["host"]) != me["host"]
            if other and time.time() - said["updated"] < WRITER_SILENT:
                raise RunError(
                    f"{self.url} is being played by a command on {said['host']}",
                    hint=f"wait for it; {WRITER_SILENT:g} seconds after it was lost it is free",
                )
            self._files.makedirs(self._root, exist_ok=True)
            self._files.pipe_file(path, json.dumps(me).encode())

    def leave(self) -> None:
        """Nobody plays into it any more."""
        with self._refusals("write"):
            self._files.rm_file(f"{self._root}/{WRITER}")

    @contextmanager
    def _refusals(self, what: str) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError) as error:
            raise RunError(
                f"cannot {what} {self.url}: {error}",
                hint="check its address and your rights; the copy on this machine is"
                f" {self.folder}",
            ) from error


def _whole_lines(file: Path) -> int:
    """Bytes of a file up to its last line break."""
    if not file.is_file():
        return 0
    with file.open("rb") as lines:
        end = lines.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 65536)
            lines.seek(start)
            if (last := lines.read(end - start).rfind(b"\n")) >= 0:
                return start + last + 1
            end = start
    return 0


def _unused(folder: Path, taken: set[str] | None = None) -> Path:
    """A free name for a log in a folder."""
    names = {file.name for file in episode_logs(folder)} | (taken or set())
    numbers = [int(n) for name in names if (n := name[9:-6]).isdigit()]
    return folder / f"episodes-{1 + max(numbers, default=-1):04d}.jsonl"
