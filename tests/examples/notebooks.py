"""Runs the notebooks of `examples/`: small for the tests, whole for what is shown.

`python -m tests.examples.notebooks [NAME ...]` (`make examples`) runs them at full size and writes
each `.ipynb`, with outputs and figures, beside its text.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jupytext
import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parents[2] / "examples" / "notebooks"
SOURCES = sorted(NOTEBOOKS.glob("n*.py"))
SIZE_VARIABLE = "WARMLINE_EXAMPLES"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def execute(source: Path, folder: Path, *, quick: bool) -> Any:
    """The notebook with its outputs, run in `folder`.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = jupytext.read(source)
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL})
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # not drawn, so that the same text gives the same file
    shutil.copy(NOTEBOOKS / "shared.py", folder)
    before = os.environ.get(SIZE_VARIABLE)
    os.environ[SIZE_VARIABLE] = "quick" if quick else "full"
    try:
        NotebookClient(
            notebook,
            timeout=600,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
        ).execute()
    finally:
        if before is None:
            del os.environ[SIZE_VARIABLE]
        else:
            os.environ[SIZE_VARIABLE] = before
    return notebook


def write(source: Path) -> Path:
    """Run it at full size; the notebook lies beside its text afterwards."""
    with tempfile.TemporaryDirectory() as scratch:
        made = execute(source, Path(scratch), quick=False)
    for cell in made.cells:
        cell.metadata.pop("execution", None)  # times of day
    target = source.with_suffix(".ipynb")
    text = nbformat.writes(made).replace(scratch, "...")
    target.write_text(text if text.endswith("\n") else f"{text}\n", "utf-8")
    return target


def main(names: list[str]) -> None:
    for source in SOURCES:
        if not names or source.stem in names:
            began = time.monotonic()
            print(f"{write(source).name}: {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
