"""The `openai` policy on `transformers serve`, a server that ignores much of what it is asked.

It answers choices, schemas and log-probabilities with plain text. Each must come out as an error, and
what the server does honour must keep the contract: its column of the conformance table.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from ..conformance.cells import ROWS, UNTRIED, Make, label, outcome, read_table
from ..conformance.servers import transformers_serve

NAME = "transformers serve"

pytestmark = [
    pytest.mark.skipif(find_spec("fastapi") is None, reason="`transformers serve` needs fastapi"),
    pytest.mark.timeout(300),
]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Make]:
    with transformers_serve(tmp_path_factory.mktemp("served")) as maker:
        yield maker


@pytest.mark.parametrize("row", [row for row in ROWS if (NAME, row) not in UNTRIED])
async def test_transformers_serve(row: str, make: Make) -> None:
    assert await outcome(make, row) == read_table()[label(row)][NAME]
