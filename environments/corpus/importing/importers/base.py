"""What an importer gives: a dialogue in its source's own words; and its error when it cannot.

An importer is a function from one record (parsed JSON) to one `Recorded`. Whose word for a speaker
means the seeker, which label is which strategy and all cleaning up are the same for every format,
so they are not the importer's work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from .....core.errors import WarmlineError
from .....core.jsonl import parse_json


class BrokenRecord(WarmlineError):
    """A record that is not in the importer's format.

    Args:
        message: what is wrong.
        field: where in the record.
    """

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Turn:
    """One utterance as the source has it.

    Attributes:
        speaker: the source's word for who spoke.
        text: None where the source has none.
        labels: strategies in the source's words, in order.
        notes: other fields of this utterance in the source.
    """

    speaker: str
    text: str | None
    labels: tuple[str, ...] = ()
    notes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Recorded:
    """One dialogue as the source has it; empty text where the source gives nothing.

    Attributes:
        annotations: other fields of the source, under its own names.
        source: the corpus, where the record itself shows which of several it is from.
        profile: who the seeker is to be, in words; known to the seeker alone.
    """

    turns: tuple[Turn, ...]
    problem_type: str = ""
    situation: str = ""
    annotations: dict[str, Any] = field(default_factory=dict)
    source: str = ""
    profile: str = ""


class Importer(Protocol):
    """The door for formats: a plug-in is one function."""

    def __call__(self, record: Any, /) -> Recorded:
        """Read one record.

        Raises:
            BrokenRecord: it is not in this format.
        """


def as_object(record: Any) -> Mapping[str, Any]:
    """The record as a JSON object.

    Rows that a tool has packed into one `text` column are unpacked.

    Raises:
        BrokenRecord: it is something else.
    """
    record = unpacked(record)
    if not isinstance(record, Mapping):
        raise BrokenRecord(f"a JSON object is expected, not {_kind(record)}")
    return record


def unpacked(record: Any) -> Any:
    """The record inside a row whose only column, `text`, holds JSON; any other as it is."""
    if isinstance(record, Mapping) and list(record) == ["text"] and isinstance(record["text"], str):
        try:
            return parse_json(record["text"])
        except ValueError as error:
            raise BrokenRecord(f"not JSON: {error}", field="text") from None
    return record


def items(record: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    """The list of objects under `name`.

    Raises:
        BrokenRecord: there is none, or it holds something else.
    """
    found = record.get(name)
    if found is None:
        known = ", ".join(map(str, record)) or "none"
        raise BrokenRecord(f"missing; the record's fields are: {known}", field=name)
    return objects(found, name)


def objects(found: Any, name: str) -> list[Mapping[str, Any]]:
    """`found` as a list of JSON objects.

    Raises:
        BrokenRecord: it is not one; names the item.
    """
    if not isinstance(found, Sequence) or isinstance(found, str):
        raise BrokenRecord(f"a list is expected, not {_kind(found)}", field=name)
    for number, item in enumerate(found):
        if not isinstance(item, Mapping):
            raise BrokenRecord(
                f"a JSON object is expected, not {_kind(item)}", field=f"{name}[{number}]"
            )
    return list(found)


def text_of(record: Mapping[str, Any], name: str) -> str:
    """The text under `name`; empty if it is missing or not text."""
    found = record.get(name)
    return found if isinstance(found, str) else ""


def rest_of(record: Mapping[str, Any], *used: str) -> dict[str, Any]:
    """The fields of the record other than `used`; empty values are left out."""
    return {
        str(name): value
        for name, value in record.items()
        if name not in used and value not in (None, "", [], {})
    }


def require(given: bool, message: str, *, field: str | None = None) -> None:
    """Refuse a record.

    Raises:
        BrokenRecord: `given` is false.
    """
    if not given:
        raise BrokenRecord(message, field=field)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a truth value"}
    return names.get(type(value), "nothing" if value is None else "a number")
