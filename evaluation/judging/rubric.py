"""Rubrics: what a judge is asked, read from TOML files.

Ours are `response` (one supporter reply) and `dialogue` (a whole conversation); a user's is a file
with the same fields.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from ...core.errors import DataError, did_you_mean
from ...core.files import parse_toml
from ...core.record import Record, Text, problems_of

_FOLDER = Path(__file__).parent / "rubrics"

_SHOWS = re.compile(rb"^[ \t]*shows[ \t]*=.*(\n|\Z)", re.M)

Subject = Literal["utterance", "episode"]
Shown = Literal["strategies", "profile"]


class Fault(Record):
    """A fault that bounds the score. The judge names it, we apply the bound."""

    name: Text
    at_most: int
    when: Text


class Dimension(Record):
    """One thing that is graded.

    Attributes:
        levels: what each score means, the lowest first.
        faults: what bounds the score.
        shows: what the judge sees for it besides the words: the `strategies` of supporters' turns,
            the seeker's situation and `profile`.
    """

    name: Text
    question: Text
    levels: tuple[Text, ...]
    faults: tuple[Fault, ...] = ()
    shows: tuple[Shown, ...] = ()

    def cap(self, faults: tuple[str, ...]) -> int | None:
        """The lowest bound among the faults named; None without one."""
        return min((f.at_most for f in self.faults if f.name in faults), default=None)


class Rubric(Record):
    """A task, a scale and dimensions.

    Attributes:
        subject: whether supporter utterances or whole episodes are judged.
        scale: lowest and highest score; whole numbers between them are valid, nothing else is.
        sha256: of the file without its lines `shows = ...`; part of `id`, so a changed rubric is
            another rubric.
    """

    name: Text
    version: Text
    subject: Subject
    scale: tuple[int, int]
    task: Text
    dimensions: Annotated[tuple[Dimension, ...], Field(min_length=1)]
    sha256: str = ""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        low, high = self.scale
        if low >= high:
            raise ValueError(f"the scale runs from {low} to {high}")
        names = [dimension.name for dimension in self.dimensions]
        if len(set(names)) < len(names):
            raise ValueError("a dimension occurs twice")
        for dimension in self.dimensions:
            if len(dimension.levels) != high - low + 1:
                raise ValueError(
                    f"dimension {dimension.name} has {len(dimension.levels)} levels for a scale of"
                    f" {high - low + 1}"
                )
            for fault in dimension.faults:
                if not low <= fault.at_most <= high:
                    raise ValueError(
                        f"fault {fault.name} of {dimension.name} bounds the score at"
                        f" {fault.at_most}, outside the scale"
                    )
        return self

    @property
    def id(self) -> str:
        """Name, version and hash, such as `response 1 (3fa9c2d1)`."""
        return f"{self.name} {self.version} ({self.sha256[:8]})"

    def id_of(self, dimension: str) -> str:
        """As it stands in `Rating.rubric` for a dimension: what that one shows belongs to its
        identity, as in `dialogue 1 (3fa9c2d1) with strategies`, and to no other's.

        A dimension that the rubric lacks has the rubric's own id.
        """
        shown = next((d.shows for d in self.dimensions if d.name == dimension), ())
        return self.id + (f"{WITH}{' and '.join(sorted(shown))}" if shown else "")

    def only(self, names: tuple[str, ...]) -> tuple[Dimension, ...]:
        """The dimensions of these names, all where none is given.

        Raises:
            DataError: an unknown dimension; the closest is suggested.
        """
        known = {dimension.name: dimension for dimension in self.dimensions}
        for name in names:
            if name not in known:
                raise DataError(
                    f"no dimension '{name}'; it has: {', '.join(known)}",
                    file=self.name,
                    hint=did_you_mean(name, known),
                )
        return tuple(known[name] for name in names) if names else self.dimensions


WITH = " with "


def rubric_id(stored: str) -> str:
    """The rubric's id within what `Rubric.id_of` gives."""
    return stored.partition(WITH)[0]


def known_rubrics() -> list[str]:
    """Names of the rubrics that ship."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load_rubric(source: str | Path) -> Rubric:
    """A shipped rubric by name, or one from a file.

    Raises:
        DataError: no such rubric, not TOML, or fields that cannot be used.
    """
    path = _FOLDER / f"{source}.toml" if str(source) in known_rubrics() else Path(source)
    if not path.is_file():
        raise DataError(
            "no such rubric",
            file=path,
            hint=did_you_mean(str(source), known_rubrics())
            or f"shipped: {', '.join(known_rubrics())}; or give the path of a TOML file",
        )
    raw = path.read_bytes()
    try:
        data: dict[str, Any] = parse_toml(raw.decode("utf-8"))
    except ValueError as error:
        raise DataError(f"not TOML: {error}", file=path) from None
    try:
        return Rubric.model_validate({**data, "sha256": _digest(raw)})
    except ValidationError as error:
        raise DataError(
            "; ".join(problems_of(error, Rubric)[:3]),
            file=path,
            hint="a rubric has the fields " + ", ".join(Rubric.model_fields),
        ) from None


def _digest(raw: bytes) -> str:
    return hashlib.sha256(_SHOWS.sub(b"", raw)).hexdigest()
