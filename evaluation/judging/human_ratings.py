"""Ratings by people, from a file of ratings or a table.

A CSV has one rating a row, with a header: `episode`, `dimension` and `value` are needed; `rater`,
`utterance`, `candidate`, `explanation`, `rubric` and `sample` may be there. An empty value is
missing. A row with `first`, the text that was shown first (A or B), is a choice between two texts:
its value is 1 for A, -1 for B, 0 for a tie.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from ...core.errors import DataError, did_you_mean
from ...core.files import read_text
from ...core.record import problems_of
from ...environments.episodes.rating import Rating, iter_ratings

NEEDED = ("episode", "dimension", "value")
KNOWN = (*NEEDED, "rater", "utterance", "candidate", "explanation", "rubric", "sample", "first")
CHOICES = (-1, 0, 1)
RATER = "person"
"""The rater's name if a table has no column of raters."""


def read_ratings(path: str | Path) -> list[Rating]:
    """The ratings of a `.csv` file, of a file of ratings, or of a run's folder.

    Raises:
        DataError: no such file, unknown or missing columns, or a row that is not a rating.
    """
    path = Path(path)
    return list(_rows(path) if path.suffix.lower() == ".csv" else iter_ratings(path))


def _rows(path: Path) -> Iterator[Rating]:
    if not path.is_file():
        raise DataError("no ratings there", file=path, hint="give a CSV or JSONL file")
    reader = csv.DictReader(io.StringIO(read_text(path).removeprefix("\ufeff"), newline=""))
    try:
        columns = list(reader.fieldnames or ())
        _check(path, columns)
        for row in reader:
            line = reader.line_num
            if None in row or None in row.values():
                raise DataError(
                    f"has another number of cells than the header's {len(columns)}",
                    file=path,
                    line=line,
                    hint="put quotation marks around a cell with a comma",
                )
            given = {name: cell.strip() for name, cell in row.items() if cell.strip()}
            first = given.pop("first", None)
            if first is not None:
                _check_choice(path, line, first, given.get("value"))
            notes = None if first is None else {"first": first}
            try:
                yield Rating.model_validate(
                    {"rater": RATER, "kind": "human", "notes": notes, **given}
                )
            except ValidationError as error:
                raise DataError(
                    "; ".join(problems_of(error, Rating)[:3]), file=path, line=line
                ) from None
    except csv.Error as error:
        raise DataError(f"not CSV: {error}", file=path, line=reader.line_num) from None


def _check(path: Path, columns: list[str]) -> None:
    unknown = [name for name in columns if name not in KNOWN]
    missing = [name for name in NEEDED if name not in columns]
    if unknown or missing:
        problems = [f"unknown column '{name}'" for name in unknown]
        problems += [f"no column '{name}'" for name in missing]
        raise DataError(
            "; ".join(problems),
            file=path,
            line=1,
            hint=did_you_mean(unknown[0], KNOWN) if unknown else f"columns: {', '.join(KNOWN)}",
        )


def _check_choice(path: Path, line: int, first: str, value: str | None) -> None:
    """A choice between A and B has one of three values."""
    if first not in ("A", "B") or (value is not None and value not in map(str, CHOICES)):
        raise DataError(
            f"not a choice between two texts: first '{first}', value '{value}'",
            file=path,
            line=line,
            hint="first is A or B; value is 1 where A is better, -1 where B is, 0 for a tie",
        )
