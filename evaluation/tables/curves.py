"""Tables whose rows are points on an axis, as curves: one panel a metric, in SVG drawn from numbers."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from ...core.files import write_whole
from .page import figure
from .result import Cell, TableResult

WIDE, HIGH, LEFT, TOP, BELOW = 210, 110, 58, 26, 34
COLUMNS = 3
LINE, INK, PALE = "#0072B2", "#222222", "#D9D9D9"

Point = tuple[float, Cell]


def write_curves(tables: Sequence[TableResult], folder: Path) -> list[str]:
    """Draw the tables that have an axis; returns the names of the files, which lie in `folder`.

    Raises:
        RunError: the disk refuses.
    """
    drawn = []
    for table in tables:
        if (text := curves(table)) is not None:
            name = f"{table.key}.svg"
            write_whole(folder / name, text)
            drawn.append(name)
    return drawn


def curves(table: TableResult) -> str | None:
    """The figure of a table; None where no metric has two points on its axis."""
    panels = []
    for name in table.columns:
        points = [
            (row.at, row.cells[name])
            for row in table.rows
            if row.at is not None and row.cells[name].value is not None
        ]
        if len(points) > 1:
            panels.append((name, sorted(points, key=lambda point: point[0])))
    if not panels:
        return None
    columns = min(COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    width, height = columns * (LEFT + WIDE), lines * (TOP + HIGH + BELOW)
    parts = [
        _panel(
            name,
            points,
            table.axis,
            n % columns * (LEFT + WIDE),
            n // columns * (TOP + HIGH + BELOW),
        )
        for n, (name, points) in enumerate(panels)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" role="img" font-family="sans-serif" font-size="10" fill="{INK}">'
        f'<title>{escape(table.title)}</title><rect width="{width}" height="{height}" fill="white"/>'
        f"{''.join(parts)}</svg>\n"
    )


def _panel(name: str, points: Sequence[Point], axis: str, x: float, y: float) -> str:
    """One metric over the axis; bars are the deviation over the runs."""
    low = min(_value(cell) - (cell.deviation or 0) for _, cell in points)
    high = max(_value(cell) + (cell.deviation or 0) for _, cell in points)
    span = (high - low) or 1.0
    first, last = points[0][0], points[-1][0]

    def across(at: float) -> float:
        return x + LEFT + (at - first) / ((last - first) or 1.0) * (WIDE - 20)

    def down(value: float) -> float:
        return y + TOP + HIGH - (value - low) / span * HIGH

    bottom = y + TOP + HIGH
    parts = [f'<text x="{x + LEFT}" y="{y + 16}" font-weight="bold">{escape(name)}</text>']
    parts.append(
        f'<path d="M{x + LEFT - 4} {bottom + 4}H{x + LEFT + WIDE - 16}" stroke="{PALE}" fill="none"/>'
    )
    for value in dict.fromkeys((low, high)):
        parts.append(
            f'<text x="{x + LEFT - 8}" y="{down(value) + 3:.1f}" text-anchor="end">'
            f"{escape(figure(value))}</text>"
        )
    path = "L".join(f"{across(at):.1f} {down(_value(cell)):.1f}" for at, cell in points)
    parts.append(f'<path d="M{path}" stroke="{LINE}" fill="none" stroke-width="1.5"/>')
    for at, cell in points:
        here = f"{across(at):.1f}"
        if cell.deviation:
            ends = (down(_value(cell) + side * cell.deviation) for side in (-1, 1))
            below, above = ends
            parts.append(f'<path d="M{here} {below:.1f}V{above:.1f}" stroke="{LINE}"/>')
        parts.append(f'<circle cx="{here}" cy="{down(_value(cell)):.1f}" r="3" fill="{LINE}"/>')
        parts.append(f'<text x="{here}" y="{bottom + 16}" text-anchor="middle">{at:g}</text>')
    parts.append(f'<text x="{x + LEFT}" y="{bottom + 29}" fill="#555555">{escape(axis)}</text>')
    return "".join(parts)


def _value(cell: Cell) -> float:
    return 0.0 if cell.value is None else cell.value
