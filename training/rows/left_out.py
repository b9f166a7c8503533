"""What was left out of a training and why: one record, for the checkpoint and for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ...core.record import Record
from .build import BadRow

EXAMPLES = 3
"""Examples of each reason that a record names."""


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


def left_out_line(found: Sequence[LeftOut]) -> str:
    """One line for the terminal: every reason with its count and its first example."""
    shown = [
        f"{each.count} {each.reason.replace('_', ' ')}"
        + (f" ({each.examples[0]})" if each.examples else "")
        for each in found
    ]
    return "left out: " + (", ".join(shown) or "nothing")
