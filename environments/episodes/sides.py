"""The sides of a corpus: which of its dialogues are for training, which for testing.

`split.json` beside the log names them by id; `environments/corpus/dividing.py` makes it. Wherever a
command takes a run's folder or a log, `FOLDER:SIDE` is one side of it. A path that is there is never
taken apart, so a folder may have a colon in its name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator

from ...core.errors import DataError, did_you_mean
from ...core.files import read_text, write_whole
from ...core.outside.places import is_url
from ...core.record import Record, problems_of

SPLIT_NAME = "split.json"

SIDE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
"""What a side may be called."""

SHOWN = 3
"""Ids that a message names."""


class Split(Record):
    """How a corpus is divided; `split.json`.

    Attributes:
        by: what was kept together: `scenario`, or nothing but the `dialogue`.
        shares: of the sides that were drawn; empty if all were listed.
        seed: of the draw; None if nothing was drawn.
        lists: of the sides that were listed, the file of ids, by its name.
        sides: ids of dialogues by side, in the order of the log.
        left_out: dialogues on no side.
        hash: digest of `sides`; see `digest_of`.
    """

    version: Literal[1] = 1
    by: Literal["scenario", "dialogue"]
    shares: dict[str, float] = Field(default_factory=dict)
    seed: int | None = None
    lists: dict[str, str] = Field(default_factory=dict)
    sides: dict[str, tuple[str, ...]]
    left_out: tuple[str, ...] = ()
    hash: str

    @field_validator("sides")
    @classmethod
    def _names_are_plain(cls, sides: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for name in sides:
            if not SIDE_NAME.fullmatch(name):
                raise ValueError(f"'{name}' cannot name a side")
        return sides

    def to_json(self) -> str:
        """The text of the file."""
        return json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"


@dataclass(frozen=True, slots=True)
class Place:
    """What a text names: a folder or log, and perhaps one side of it."""

    path: Path
    side: str | None = None

    @property
    def name(self) -> str:
        """For records and headings: the last part of the path, and the side."""
        own = self.path.resolve().name if self.path.name in ("", "..") else self.path.name
        return own if self.side is None else f"{own}:{self.side}"

    @property
    def folder(self) -> Path:
        """Where what belongs to the log lies."""
        return self.path if self.path.is_dir() else self.path.parent

    @property
    def split_file(self) -> Path:
        """Where the split of the log is, if there is one."""
        return self.folder / SPLIT_NAME


def place_of(named: str | Path) -> Place:
    """The path and the side that `PATH` or `PATH:SIDE` names.

    Raises:
        DataError: both readings are there.
    """
    if is_url(named):
        return _place_in_store(str(named))
    text = str(named)
    path, colon, side = text.rpartition(":")
    apart = Place(Path(path), side) if colon and path and SIDE_NAME.fullmatch(side) else None
    if apart is None or not apart.path.exists():
        return Place(Path(named))
    if not Path(named).exists():
        return apart
    if apart.split_file.is_file():
        raise DataError(
            f"'{text}' is a path and may be the side '{side}' of {path}",
            file=named,
            hint="rename that folder or file",
        )
    return Place(Path(named))


def _place_in_store(text: str) -> Place:
    """What a URL names, or `URL:SIDE`, in a copy to read."""
    from ...core.stores.store import copy_of

    path, _, side = text.rpartition(":")
    apart = is_url(path) and SIDE_NAME.fullmatch(side)
    return Place(copy_of(path), side) if apart else Place(copy_of(text))


def heading_of(place: Place) -> str:
    """A column's heading: the folder's or the file's name, and the side."""
    if place.path.is_dir():
        return place.path.name if place.side is None else place.name
    return place.path.stem if place.side is None else f"{place.path.stem}:{place.side}"


def whole(named: str | Path, what: str) -> Path:
    """The path alone, for work on a whole corpus.

    Args:
        what: names the work in the error.

    Raises:
        DataError: one side is named.
    """
    place = place_of(named)
    if place.side is not None:
        raise DataError(
            f"{what} is about a whole corpus, not the side '{place.side}'",
            file=named,
            hint=f"give {place.path}",
        )
    return place.path


def digest_of(sides: Mapping[str, Collection[str]]) -> str:
    """SHA-256, in hex, of the sides with the ids of each in sorted order."""
    plain = json.dumps({name: sorted(ids) for name, ids in sorted(sides.items())})
    return hashlib.sha256(plain.encode()).hexdigest()


def write_split(folder: Path, split: Split) -> Path:
    """Put a split beside its log.

    Raises:
        RunError: the disk refuses.
    """
    write_whole(folder / SPLIT_NAME, split.to_json())
    return folder / SPLIT_NAME


def read_split(file: Path) -> Split:
    """The split in a file.

    Raises:
        DataError: there is none, it cannot be read, or its sides were changed by hand.
    """
    if not file.is_file():
        raise DataError(
            "no split there, so it has no sides",
            file=file,
            hint=f"warmline split {file.parent} --shares train=0.8,valid=0.1,test=0.1",
        )
    try:
        split = Split.model_validate_json(read_text(file))
    except ValidationError as error:
        raise DataError("; ".join(problems_of(error, Split)[:3]), file=file) from None
    if split.hash != digest_of(split.sides):
        raise DataError(
            "its sides were changed after it was made",
            file=file,
            field="hash",
            hint="make it with `warmline split`; published lists of ids are taken with --ids",
        )
    return split


def ids_on(place: Place, there: Collection[str]) -> tuple[str, ...]:
    """The ids on the side that a place names.

    Args:
        there: ids of all dialogues in the log.

    Raises:
        DataError: no such side, or the split does not fit the log.
    """
    split = read_split(place.split_file)
    if place.side not in split.sides:
        known = ", ".join(split.sides)
        raise DataError(
            f"no side '{place.side}'; it has {known}",
            file=place.split_file,
            hint=did_you_mean(place.side or "", split.sides),
        )
    refuse_misfit(split, there, place)
    return split.sides[place.side]


def refuse_misfit(split: Split, there: Collection[str], place: Place) -> None:
    """Raise if a split is not of exactly these dialogues.

    Raises:
        DataError: dialogues came or went since it was made.
    """
    placed = {name for ids in split.sides.values() for name in ids} | set(split.left_out)
    problems = [
        f"{len(names)} {what} ({_shown(names)})"
        for names, what in (
            ([name for name in there if name not in placed], "dialogues were added since"),
            (sorted(placed.difference(there)), "of its dialogues are not there"),
        )
        if names
    ]
    if problems:
        raise DataError(
            f"does not fit {place.path}: {' and '.join(problems)}",
            file=place.split_file,
            hint="`warmline split … --replace` divides the corpus anew; checkpoints remember which"
            " dialogues they have seen",
        )


def _shown(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")


def side_digest(place: Place) -> dict[str, str]:
    """What identifies a side beside the hash of its log; empty for a whole log."""
    if place.side is None:
        return {}
    ids = read_split(place.split_file).sides.get(place.side, ())
    return {f"{SPLIT_NAME}:{place.side}": digest_of({place.side: ids})}
