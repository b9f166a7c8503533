"""The scores of an evaluation as a table: rows for the terminal, and the Markdown page `tables.md`.

Letters stand for conventions and numbers for published systems, which keeps a row short; `notes`
explains them.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...core.published import published_cell
from ...core.tables import DASH, markdown_table
from .result import Result

COLUMNS = ("metric", "value", "95 % interval", "n", "missing", "how")
"""Before the published systems."""


def heading(result: Result) -> str:
    """What was scored, by which convention, and how much of it."""
    where = "given pairs" if result.setting == "pairs" else f"{result.setting} context"
    counted = f"{result.replies} replies" + (f", {result.failed} failed" if result.failed else "")
    if result.dialogues is not None:
        counted += f", {result.dialogues} dialogues"
    told = f", strategy {result.condition}" if result.condition else ""
    if result.condition and result.condition.upper_bound:
        told += " (an upper bound: the prompt names the reply's own label)"
    warned = "".join(f" ({text})" for text in result.warnings())
    return f"{where}, convention {result.preset}{told}: {counted}{warned}"


def score_rows(result: Result) -> list[list[str]]:
    """One row a score, our `COLUMNS` first, then a published system each."""
    letters = _letters(result)
    return [
        [
            f"{score.metric} {score.unit}".strip(),
            "undefined" if score.value is None else f"{score.value:.2f}",
            str(score.interval) if score.interval else DASH,
            str(score.n),
            str(score.missing),
            letters[score.convention],
            *(
                published_cell(name, score.metric, figures)
                for name, figures in result.published.items()
            ),
        ]
        for score in result.scores
    ]


def notes(result: Result) -> list[str]:
    """What the letters and numbers of the table stand for."""
    how = result.published_conventions()
    return [
        *(f"{letter}: {text}" for text, letter in _letters(result).items()),
        *(
            f"{number}: published, {name}; counted as: {how[name.partition(':')[0]]}"
            for number, name in enumerate(result.published, 1)
        ),
    ]


def page(results: Sequence[Result]) -> str:
    """All settings in Markdown, the confusion of strategies included."""
    parts = ["# Evaluation"]
    for result in results:
        title = heading(result)
        numbers = [str(number) for number, _ in enumerate(result.published, 1)]
        parts += [
            f"## {title[0].upper()}{title[1:]}",
            markdown_table([*COLUMNS, *numbers], score_rows(result)),
            "\n".join(f"* {note}" for note in notes(result)),
        ]
        if result.strategies:
            choices = list(result.strategies)
            rows = [[gold, *map(str, row.values())] for gold, row in result.strategies.items()]
            parts += [
                f"### Strategies, {result.setting} context: rows the corpus's, columns the advised",
                markdown_table(["", *choices], rows),
            ]
    return "\n\n".join(parts) + "\n"


def _letters(result: Result) -> dict[str, str]:
    """A letter for each convention, in order of appearance."""
    conventions = dict.fromkeys(score.convention for score in result.scores)
    return {text: _letter(number) for number, text in enumerate(conventions)}


def _letter(number: int) -> str:
    """a, b, … z, aa, ab, …"""
    more, last = divmod(number, 26)
    return (_letter(more - 1) if more else "") + chr(ord("a") + last)
