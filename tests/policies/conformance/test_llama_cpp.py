"""llama.cpp's column of the conformance table, on the embedded engine's own server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from .cells import ROWS, UNTRIED, Make, label, outcome, read_table
from .servers import llama_cpp

NAME = "llama.cpp"

pytestmark = [pytest.mark.embedded, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def make() -> AsyncIterator[Make]:
    async with llama_cpp() as maker:
        yield maker


@pytest.mark.parametrize("row", [row for row in ROWS if (NAME, row) not in UNTRIED])
async def test_llama_cpp(row: str, make: Make) -> None:
    assert await outcome(make, row) == read_table()[label(row)][NAME]
