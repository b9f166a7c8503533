"""Filled tables as Markdown, JSON, CSV and a list of commands."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ...core.tables import DASH, markdown_table
from ...policies.safety import DISCLAIMER
from .result import Cell, OurRow, PublishedRow, TableResult
from .specs import Paper

COUNTS = ("dialogues", "utterances", "seeker utterances", "supporter utterances", "pairs")
LAST = "on what; what differs from the paper"

HEAD = (
    "Each row of ours has the paper's below it. Behind a row of ours stands on what it was measured"
    " and everything recorded that is not as in the paper. A dash is a figure that is missing; below"
    " each table is said why, and which commands would fill it."
)
CSV_HEAD = ("table", "row", "whose", "metric", "value", "deviation", "runs", "reason", "differs")


def page(paper: Paper, tables: Sequence[TableResult], left_out: int = 0) -> str:
    """All tables in Markdown.

    Args:
        left_out: rows that were not asked for.
    """
    parts = [f"# {paper.name}: tables", paper.about, HEAD, counts(tables)]
    if left_out:
        parts.append(f"{left_out} rows of the paper for which no place was named are left out.")
    for table in tables:
        parts += [f"## {table.title}", *_table(table)]
    return "\n\n".join([*parts, f"> {DISCLAIMER}"]) + "\n"


def counts(tables: Sequence[TableResult]) -> str:
    """How many cells are filled, in one sentence."""
    cells = [cell for table in tables for row in table.rows for cell in row.cells.values()]
    there = sum(cell.value is not None or bool(cell.text) for cell in cells)
    return f"{there} of {len(cells)} figures of ours are there, in {len(tables)} tables."


def _table(table: TableResult) -> Iterator[str]:
    rows: list[Sequence[object]] = []
    for row in table.rows:
        rows.append(
            (row.label, *(shown(row.cells[name], name) for name in table.columns), _behind(row))
        )
        for own in row.published:
            rows.append(
                (
                    f"published: {_system(own.name, table.title)}",
                    *(_printed(own, n) for n in table.columns),
                    own.convention,
                )
            )
    yield markdown_table(("", *table.columns, LAST), rows, numbers=False)
    if table.picture:
        yield "The paper prints no numbers here, only a picture."
    yield from table.notes
    if table.conventions:
        yield "How ours was counted:"
        yield "\n".join(f"* {name}: {' | '.join(how)}" for name, how in table.conventions.items())
    lost = list(missing_lines(table))
    if lost:
        yield "Missing:"
        yield "\n".join(lost)


def _system(name: str, title: str) -> str:
    """A published row's name, without its table where the heading has it."""
    table, _, system = name.partition(": ")
    number = table[table.find("Table") :].partition(",")[0]
    return system if title.startswith(f"{number}:") else name


def shown(cell: Cell, name: str = "") -> str:
    """A cell of ours: `6.27±0.05 (+2.1 %)`; a dash where it is missing.

    Args:
        name: of its column; counts are whole.
    """
    if cell.text:
        return cell.text
    if cell.value is None:
        return DASH
    text = f"{cell.value:,.0f}" if name in COUNTS and cell.value % 1 == 0 else figure(cell.value)
    if cell.deviation is not None:
        text += f"±{cell.deviation:.2f}"
    if cell.reason and cell.runs:
        text += f" ({cell.runs} runs)"
    return text + _change(cell.change)


def figure(value: float) -> str:
    """A number: counts whole, small ones with three places."""
    if float(value).is_integer() and abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3f}" if 0 < abs(value) < 1 else f"{value:.2f}"


def _change(value: float | None) -> str:
    return "" if value is None else f" ({value:+.2f} %)"


def _printed(row: PublishedRow, name: str) -> str:
    value = row.cells.get(name)
    if value is None:
        return DASH
    text = figure(value)
    if name in row.spread:
        text += f"±{row.spread[name]:.2f}"
    return text + _change(row.changes.get(name))


def _behind(row: OurRow) -> str:
    return ". ".join([*row.measured, *row.differs])


def missing_lines(table: TableResult) -> Iterator[str]:
    """A line for each row and reason, with the columns that it is about and the commands."""
    for row in table.rows:
        found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
        for name, cell in row.cells.items():
            if cell.reason:
                found.setdefault((cell.reason, cell.commands), []).append(name)
        for (reason, commands), names in found.items():
            which = "all" if len(names) == len(row.cells) else ", ".join(names)
            typed = "; ".join(f"`{command}`" for command in commands)
            yield f"* {row.label} ({which}): {reason}" + (f". To fill it: {typed}" if typed else "")


def as_data(paper: Paper, tables: Sequence[TableResult]) -> dict[str, Any]:
    """All tables as plain data, the reasons and commands of every missing cell included."""
    return {"paper": paper.name, "tables": [asdict(table) for table in tables]}


def as_csv(tables: Sequence[TableResult]) -> str:
    """One line a figure: ours and the published ones, missing ones with an empty value."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_HEAD)
    for table in tables:
        for row in table.rows:
            differs = ". ".join(row.differs)
            for name, cell in row.cells.items():
                writer.writerow(
                    (table.key, row.label, "ours", name, _raw(cell.value) or cell.text,
                     _raw(cell.deviation), cell.runs, cell.reason, differs)
                )  # fmt: skip
            for own in row.published:
                for name, value in own.cells.items():
                    if name in table.columns:
                        spread: Mapping[str, float] = own.spread
                        writer.writerow(
                            (table.key, row.label, own.name, name, value,
                             _raw(spread.get(name)), "", "", own.convention)
                        )  # fmt: skip
    return out.getvalue()


def _raw(value: float | None) -> str:
    return "" if value is None else repr(value)


def commands_of(tables: Sequence[TableResult]) -> list[str]:
    """All commands that fill missing cells, each once, in order."""
    return list(
        dict.fromkeys(
            command
            for table in tables
            for row in table.rows
            for cell in row.cells.values()
            for command in cell.commands
        )
    )


def script(prepare: Sequence[str], tables: Sequence[TableResult]) -> str:
    """The commands as a shell script that stops at the first that fails."""
    return (
        "\n".join(["#!/bin/sh", "set -e", *dict.fromkeys([*prepare, *commands_of(tables)])]) + "\n"
    )
