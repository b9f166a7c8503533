"""Each cell of the conformance table in docs/engines.md is what the server does.

`make conformance` writes the table. vLLM's column is tested by `make test-vllm`, those of the other
real servers in `test_llama_cpp.py` and `tests/policies/hf/test_server.py`.
"""

from __future__ import annotations

import pytest

from .cells import COLUMNS, REAL, ROWS, label, outcome, read_table
from .servers import FAKES, fake

TABLE = read_table()


def test_the_table_is_whole() -> None:
    assert list(TABLE) == [label(row) for row in ROWS]
    assert all(tuple(cells) == COLUMNS for cells in TABLE.values())
    assert {*FAKES, *REAL} == set(COLUMNS)
    empty = [(row, name) for row, cells in TABLE.items() for name in cells if not cells[name]]
    assert not empty, "make conformance fills the table"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", FAKES)
@pytest.mark.parametrize("row", ROWS)
async def test_stand_ins(name: str, row: str) -> None:
    async with fake(name) as make:
        assert await outcome(make, row) == TABLE[label(row)][name]
