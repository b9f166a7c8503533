"""The order of a run's scenarios, beside its logs, where several workers play it.

Each worker's log holds what that worker finished, in the order in which it ended; `order.jsonl` holds
the ids of the scenarios, one JSON text a line, so that the run is read in their order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain, islice, zip_longest
from pathlib import Path

from ...core.errors import DataError
from ...core.files import write_whole
from ...core.jsonl import complete_lines, parse_json
from .sequence import Episodes

ORDER_NAME = "order.jsonl"


def read_order(folder: Path) -> Iterator[str]:
    """The ids of the scenarios of a run in their order; none where no order is kept.

    Raises:
        DataError: a line that is not an id.
    """
    file = folder / ORDER_NAME
    if not file.is_file():
        return
    for number, line in complete_lines(file):
        try:
            name = parse_json(line)
        except ValueError:
            name = None
        if not isinstance(name, str):
            raise DataError(
                "not the id of a scenario",
                file=file,
                line=number,
                hint="delete the file to read the episodes in the order of their logs",
            )
        yield name


def keep_order(folder: Path, names: Sequence[str]) -> None:
    """Write the order of a run's scenarios; those of an earlier start that are not asked for now
    stay behind them."""
    if _begins_with(read_order(folder), names):
        return
    asked = set(names)
    others = (name for name in read_order(folder) if name not in asked)
    lines = (f"{json.dumps(name, ensure_ascii=False)}\n" for name in chain(names, others))
    write_whole(folder / ORDER_NAME, lines)


def _begins_with(order: Iterator[str], names: Sequence[str]) -> bool:
    return all(before == name for before, name in zip_longest(islice(order, len(names)), names))


def in_order(folder: Path, episodes: Episodes) -> Episodes:
    """The episodes in the kept order; those that it does not name behind the others."""
    return episodes.ordered(read_order(folder)) if (folder / ORDER_NAME).is_file() else episodes
