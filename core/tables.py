"""Tables for readers: one Markdown form and one for the terminal.

Every page and command uses these, so that escaping, alignment and missing cells are the same
everywhere. HTML pages have their own (`evaluation/report`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

DASH = "-"
"""Stands for a missing value."""


def markdown_table(
    head: Sequence[object], rows: Iterable[Sequence[object]], *, numbers: bool = True
) -> str:
    """A Markdown table, without a line break at its end.

    Line breaks in a cell become spaces and pipes are escaped, so that text of a model or a user
    cannot leave its cell. None is a dash.

    Args:
        head: one heading a column.
        rows: as many cells as headings each.
        numbers: align all columns but the first to the right; else all to the left.

    Raises:
        ValueError: a row with another number of cells than the head.
    """
    rule = ["---", *("--:" if numbers else "---" for _ in head[1:])]
    lines = [list(map(_cell, head)), rule]
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"{len(row)} cells for {len(head)} columns: {row!r:.200}")
        lines.append(list(map(_cell, row)))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    return DASH if value is None else " ".join(str(value).split()).replace("|", "\\|")


def number(value: float | None, digits: int = 2, *, scale: float = 1) -> str:
    """`scale * value` with this many decimals and thousands separated; a dash where it is
    missing."""
    return DASH if value is None else f"{scale * value:,.{digits}f}"


def plain_table(*head: str, left: Collection[str] = ()) -> Table:
    """A terminal table without lines, which leaves room for figures within 80 columns.

    Args:
        head: the headings.
        left: headings of the columns to align to the left besides the first; all others are
            aligned to the right. Where there is no room those on the left are wrapped, and the
            figures on the right stay whole.
    """
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 0, 0))
    for place, heading in enumerate(head):
        if place == 0 or heading in left:
            table.add_column(heading, overflow="fold")
        else:
            table.add_column(heading, justify="right", no_wrap=True)
    return table
