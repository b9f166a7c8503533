"""The examples of docs/metrics.md run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[3] / "docs/metrics.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_examples_run(block: str) -> None:
    exec(compile(block, "docs/metrics.md", "exec"), {"__name__": "example"})


def test_the_page_has_examples() -> None:
    assert len(BLOCKS) == 2
