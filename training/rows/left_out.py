"""What was left out of a training and why: one record, for the checkpoint and for the terminal.

It also lies beside candidates, whose later readers see only what is there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from ...core.errors import DataError
from ...core.files import read_json, write_whole
from ...core.record import Record
from .build import BadRow

EXAMPLES = 3
"""Examples of each reason that a record names."""
LEFT_OUT_NAME = "left_out.json"


class LeftOut(Record):
    """Examples that were not learned from, for one reason.

    Attributes:
        reason: of `rows.build.Fault`, or a rule of preference pairs.
        count: how many.
        examples: the first of them by id, with the numbers that decided.
    """

    reason: str
    count: int
    examples: tuple[str, ...] = ()


def left_out_of(
    bad: Sequence[BadRow], counts: Mapping[str, int] | None = None
) -> tuple[LeftOut, ...]:
    """The record of bad rows, and of what is only counted; the most frequent reason first."""
    totals = Counter(row.fault for row in bad) + Counter(counts or {})
    examples: dict[str, list[str]] = {}
    for row in bad:
        examples.setdefault(row.fault, []).append(f"{row.id} {row.detail}".rstrip())
    return tuple(
        LeftOut(reason=reason, count=n, examples=tuple(examples.get(reason, ())[:EXAMPLES]))
        for reason, n in totals.most_common()
    )


def joined(*records: Sequence[LeftOut]) -> tuple[LeftOut, ...]:
    """Several records as one; the most frequent reason first."""
    totals: Counter[str] = Counter()
    examples: dict[str, list[str]] = {}
    for each in (each for record in records for each in record):
        totals[each.reason] += each.count
        examples.setdefault(each.reason, []).extend(each.examples)
    return tuple(
        LeftOut(reason=reason, count=n, examples=tuple(examples[reason][:EXAMPLES]))
        for reason, n in totals.most_common()
    )


def write_left_out(folder: Path, found: Sequence[LeftOut]) -> None:
    """Put the record into a folder.

    Raises:
        RunError: the disk refuses.
    """
    plain = [each.model_dump(mode="json") for each in found]
    write_whole(folder / LEFT_OUT_NAME, json.dumps(plain, indent=2, ensure_ascii=False) + "\n")


def read_left_out(folder: Path) -> tuple[LeftOut, ...] | None:
    """The record in a folder; None where there is none, as beside candidates of earlier versions.

    Raises:
        DataError: it cannot be read.
    """
    file = folder / LEFT_OUT_NAME
    if not file.is_file():
        return None
    try:
        return TypeAdapter(tuple[LeftOut, ...]).validate_python(read_json(file))
    except ValidationError as error:
        raise DataError(f"not a record of what was left out: {error}", file=file) from None


def left_out_line(found: Sequence[LeftOut]) -> str:
    """One line for the terminal: every reason with its count and its first example."""
    shown = [
        f"{each.count} {each.reason.replace('_', ' ')}"
        + (f" ({each.examples[0]})" if each.examples else "")
        for each in found
    ]
    return "left out: " + (", ".join(shown) or "nothing")
