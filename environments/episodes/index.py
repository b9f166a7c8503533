"""The index of a log: where each record begins, which episode it is, and how it ended.

It takes an id and some 150 bytes a record, so that a run of any size can be resumed and an episode
be found without reading the records. It is made from the log, in about 25 µs a record, and kept
beside a log that has at least `WORTH_KEEPING`; see `derived.py` for when that copy counts.
"""

from __future__ import annotations

import json
import re
import sys
from array import array
from pathlib import Path
from typing import IO, Any, NamedTuple

from ...core.errors import DataError
from ...core.jsonl import line_text, parse_json, placed_bytes
from .derived import WORTH_KEEPING, Signature, keep_derived, read_derived
from .episode import EPISODE_VERSION, Episode, StopReason
from .reading import parse_episode

INDEX = "index"

HEAD = 1 << 14
"""Bytes of a line in which the fields before the utterances are looked for."""


class Origin(NamedTuple):
    """What an episode comes from; `source` is empty where it was simulated."""

    seed: int
    config_hash: str
    source: str


class Head(NamedTuple):
    """What is known of a record without reading it whole."""

    id: str
    stop: str
    origin: Origin


_BEGIN = re.compile(rf'\{{"version":{EPISODE_VERSION},"id":("(?:[^"\\]|\\.)*"),"scenario":')
_THEN = re.compile(r',"seed":(-?\d{1,19}),"config_hash":"([^"\\]*)","stop":"([a-z_]+)",')
_END = re.compile(rb',"source":"([^"\\]{0,200})"\}\n$')
_STOPS = frozenset(stop.value for stop in StopReason)
_value = json.JSONDecoder().raw_decode


def head_of(line: bytes, path: Path, number: int) -> Head:
    """The head of a record.

    Raises:
        DataError: the line is no record; names file, line and field. Of a line in the form in which
            records are written, only what stands before the utterances is looked at.
    """
    return _written_head(line) or _any_head(line, path, number)


def _written_head(line: bytes) -> Head | None:
    """The head of a line in the very form in which records are written; None for any other."""
    if (end := _END.search(line, max(0, len(line) - 300))) is None:
        return None
    try:
        if not line.isascii():
            line.decode("utf-8")
        start = line[:HEAD].decode("utf-8", "ignore")
        begin = _BEGIN.match(start)
        if begin is None or "\\ud" in start or "\\uD" in start:
            return None
        _, after = _value(start, begin.end())  # whatever text a scenario holds
    except (ValueError, RecursionError):
        return None
    then = _THEN.match(start, after)
    if then is None or then[3] not in _STOPS:
        return None
    origin = Origin(int(then[1]), then[2], end[1].decode("utf-8"))
    return Head(json.loads(begin[1]), then[3], origin)


def _any_head(line: bytes, path: Path, number: int) -> Head:
    text = line_text(line, path, number)
    try:
        data = parse_json(text)
        head = Head(
            data["id"],
            data["stop"],
            Origin(data.get("seed", 0), data.get("config_hash", ""), data.get("source", "")),
        )
        texts = (head.id, head.origin.config_hash, head.origin.source)
        known = data["version"] == EPISODE_VERSION and head.stop in _STOPS
        if known and isinstance(head.origin.seed, int) and all(isinstance(t, str) for t in texts):
            return head
    except (ValueError, KeyError, TypeError, AttributeError):
        pass  # reading the record says what is wrong with it
    found = parse_episode(text, path, number)
    return Head(found.id, found.stop.value, Origin(found.seed, found.config_hash, found.source))


class LogIndex:
    """The records of one log, in its order; of an episode that was tried again, every attempt.

    Attributes:
        path: the log.
        ids: of the episodes.
        last: the number of each episode's last attempt, by id; in the order of the first ones.
        origins: what the episodes come from, each once; the keys.
        signature: of the log for which this is true; None where that is not certain.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.signature: Signature | None = None
        self.ids: list[str] = []
        self.last: dict[str, int] = {}
        self.origins: dict[Origin, None] = {}
        self._places = array("Q")
        self._lengths = array("Q")
        self._stops = array("B")
        self._names: list[str] = []
        self._kept: Signature | None = None

    @classmethod
    def of(cls, path: Path) -> LogIndex:
        """The index of a log: the one beside it if that is still true, else made from the log.

        Raises:
            DataError: a line (other than a torn last one) is not an episode.
        """
        before = Signature.of(path)
        if (kept := _kept(path, before)) is not None:
            return kept
        settled = not before.unsettled()
        made = cls(path)
        made.signature = before
        for number, place, line in placed_bytes(path):
            made.add(head_of(line, path, number), place, len(line))
        if settled:
            made.keep()
        return made

    def add(self, head: Head, place: int, length: int) -> int:
        """Take in one more record; its number."""
        number = len(self.ids)
        name = sys.intern(head.id)  # the same text as in what is made of several indices
        self.ids.append(name)
        self.last[name] = number
        self._places.append(place)
        self._lengths.append(length)
        if head.stop not in self._names:
            self._names.append(head.stop)
        self._stops.append(self._names.index(head.stop))
        self.origins.setdefault(head.origin)
        return number

    def _take(self, data: dict[str, Any]) -> None:
        """Take over what `keep` wrote."""
        self.ids = list(map(sys.intern, data["ids"]))
        self.last = {name: number for number, name in enumerate(self.ids)}
        self.origins = dict.fromkeys(Origin(*origin) for origin in data["origins"])
        self._places = array("Q", data["places"])
        self._lengths = array("Q", data["lengths"])
        self._stops = array("B", data["stops"])
        self._names = data["names"]

    def __len__(self) -> int:
        return len(self.ids)

    def stop(self, number: int) -> str:
        """How a record's episode ended, as `Episode.stop` says it."""
        return self._names[self._stops[number]]

    def place(self, number: int) -> tuple[int, int]:
        """Where a record begins, in bytes, and its length."""
        return self._places[number], self._lengths[number]

    def read(self, number: int, file: IO[bytes] | None = None) -> Episode:
        """The episode of a record.

        Args:
            number: of the record.
            file: the log, open for reading bytes; opened here if it is not given.

        Raises:
            DataError: the record is not an episode, or the log was changed since the index was made.
        """
        if file is None:
            with self.opened() as opened:
                return self.read(number, opened)
        place, length = self.place(number)
        file.seek(place)
        line: bytes = file.read(length)
        try:
            episode = parse_episode(line_text(line, self.path, 0), self.path, 0)
        except DataError:
            if not self._holds(line, number):
                raise self._changed(number) from None
            at = _line_number(self.path, place)
            return parse_episode(line_text(line, self.path, at), self.path, at)
        if episode.id != self.ids[number]:
            raise self._changed(number)
        return episode

    def opened(self) -> IO[bytes]:
        """The log, open for `read`.

        Raises:
            DataError: it is not there any more, or may not be read.
        """
        try:
            return self.path.open("rb", buffering=0)
        except OSError as error:
            raise DataError(f"cannot be read: {error.strerror}", file=self.path) from error

    def _holds(self, line: bytes, number: int) -> bool:
        """Whether a line is still the record that was indexed."""
        try:
            return head_of(line, self.path, 0).id == self.ids[number]
        except DataError:
            return False

    def _changed(self, number: int) -> DataError:
        return DataError(
            f"episode '{self.ids[number]}' is no longer where it was: the log was changed",
            file=self.path,
            hint="read the log again",
        )

    def keep(self) -> None:
        """Write the index beside its log, if that is unchanged, worth it and can be done."""
        known = self.signature
        if len(self) < WORTH_KEEPING or known is None or known == self._kept or not known.settle():
            return
        data = {
            "ids": self.ids,
            "places": self._places.tolist(),
            "lengths": self._lengths.tolist(),
            "stops": self._stops.tolist(),
            "names": self._names,
            "origins": list(self.origins),
        }
        if keep_derived(self.path, INDEX, known, data):
            self._kept = known


def _kept(log: Path, signature: Signature) -> LogIndex | None:
    """The index beside a log, if it is true."""
    if (data := read_derived(log, INDEX, signature)) is None:
        return None
    index = LogIndex(log)
    index.signature = index._kept = signature
    try:
        index._take(data)
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    return index


def _line_number(path: Path, place: int) -> int:
    """The number of the line that begins at a place."""
    number, left = 1, place
    with path.open("rb") as file:
        while left > 0 and (part := file.read(min(left, 1 << 20))):
            number += part.count(b"\n")
            left -= len(part)
    return number
