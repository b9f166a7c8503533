"""The page's figures as SVG, drawn from numbers alone; every colour is a variable of the page.

Each has a title that says what it shows, for screen readers; the numbers are in a table below it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

Series = Mapping[str, Sequence[float | None]]
"""Name of a series to its values, one a category; None where there is none."""

WIDTH = 380
"""Narrow, so that texts stay readable on a phone, where the figure is 330 pixels wide."""
VALUES = 56
"""Room for a value behind the longest bar."""
LABEL, BAR, GAP, PART = 16, 12, 3, 10
WIDEST = 40
"""Of a histogram's columns, so that one alone is still a column."""


def bars(title: str, categories: Sequence[str], series: Series, *, unit: str = "%") -> str:
    """Horizontal bars, a group a category, a bar a series.

    Args:
        title: what the figure shows, in one line.
        categories: labels, top to bottom.
        series: values `(categories,)` each, not negative.
        unit: written after each value.
    """
    largest = (
        max((v for values in series.values() for v in values if v is not None), default=0) or 1
    )
    high = LABEL + len(series) * (BAR + GAP) + PART
    parts = []
    for place, category in enumerate(categories):
        top = place * high + LABEL  # the label stands above its bars, where any length has room
        parts.append(_text(0, top - 4, category))
        for number, values in enumerate(series.values()):
            value, y = values[place], top + number * (BAR + GAP)
            if value is None:
                parts.append(_text(4, y + BAR - 2, "no value", small=True))
                continue
            width = (WIDTH - VALUES) * value / largest
            parts.append(
                f'<rect x="0" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"'
                f' class="series-{number % 5}"/>'
            )
            parts.append(_text(width + 5, y + BAR - 2, f"{value:.1f}{unit}", small=True))
    return _figure(title, len(categories) * high, parts, list(series))


def stacked(title: str, columns: Sequence[str], series: Series, classes: Sequence[str]) -> str:
    """Columns that are filled from bottom to top by the shares of the series.

    Args:
        title: what the figure shows.
        columns: labels, left to right.
        series: shares in per cent `(columns,)` each; a column without values stays empty.
        classes: CSS class of each series.
    """
    height, step = 200, (WIDTH - 60) / max(1, len(columns))
    parts = []
    for number, column in enumerate(columns):
        x, y = 50 + number * step, 10.0 + height
        for name, values in zip(classes, series.values(), strict=True):
            share = values[number] or 0
            y -= share * height / 100
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{step - 6:.1f}"'
                f' height="{share * height / 100:.1f}" class="{name}"/>'
            )
        parts.append(_text(x + step / 2 - 3, height + 28, column, anchor="middle", small=True))
    parts += [_text(44, 14, "100%", anchor="end", small=True)]
    parts += [_text(44, height + 12, "0%", anchor="end", small=True)]
    return _figure(title, height + 36, parts, list(series), classes=classes)


def histogram(title: str, counts: Mapping[int, int]) -> str:
    """How often each whole number occurs; above 40 different ones, in equal steps."""
    if not counts:
        return _figure(title, 24, [_text(4, 16, "no values", small=True)], [])
    low, high = min(counts), max(counts)
    step = max(1, -(-(high - low + 1) // 40))
    columns: dict[int, int] = dict.fromkeys(range(low, high + 1, step), 0)
    for value, count in counts.items():
        columns[low + (value - low) // step * step] += count
    largest, height = max(columns.values()), 150
    width = min(WIDEST, (WIDTH - 60) / len(columns))
    parts = []
    every = max(1, len(columns) // 10)
    for number, (start, count) in enumerate(columns.items()):
        x, tall = 50 + number * width, height * count / largest
        parts.append(
            f'<rect x="{x:.1f}" y="{10 + height - tall:.1f}" width="{max(1, width - 2):.1f}"'
            f' height="{tall:.1f}" class="series-0"/>'
        )
        if number % every == 0:
            parts.append(_text(x + width / 2, height + 26, str(start), anchor="middle", small=True))
    parts.append(_text(44, 18, str(largest), anchor="end", small=True))
    return _figure(title, height + 34, parts, [])


def _figure(
    title: str,
    height: float,
    parts: Sequence[str],
    legend: Sequence[str],
    *,
    classes: Sequence[str] = (),
) -> str:
    keys = classes or [f"series-{number % 5}" for number in range(len(legend))]
    marks = "".join(
        f'<li><span class="key {key}"></span>{escape(name)}</li>'
        for key, name in zip(keys, legend, strict=True)
    )
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>" + (f'<ul class="legend">{marks}</ul>' if marks else "")
    )


def _text(x: float, y: float, text: str, *, anchor: str = "start", small: bool = False) -> str:
    size = ' class="small"' if small else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{size}>{escape(text)}</text>'
