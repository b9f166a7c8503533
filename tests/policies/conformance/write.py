"""Fill the conformance table of docs/engines.md: `python -m tests.policies.conformance.write [column ...]`.

Every server that is installed here is tried, or those named; the others keep what the page has.
"""

from __future__ import annotations

import asyncio
import sys

from .cells import ROWS, UNTRIED, label, outcome, read_table, write_table
from .servers import installed


async def fill(names: list[str]) -> None:
    """Try each server in each row, and write the page after each server."""
    cells = read_table()
    for name, start in installed().items():
        if names and name not in names:
            continue
        async with start() as make:
            for row in ROWS:
                fixed = UNTRIED.get((name, row))
                cell = fixed or await outcome(make, row)
                cells.setdefault(label(row), {})[name] = cell
                print(f"{name}: {label(row)}: {cell}", flush=True)
        write_table(cells)


if __name__ == "__main__":
    asyncio.run(fill(sys.argv[1:]))
