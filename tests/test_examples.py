"""Every example runs, on the embedded model as a user would run it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_conversation() -> None:
    printed = run("one_conversation.py", "scripted")
    assert printed.count("Seeker: ") == printed.count("Supporter: ") > 0
    assert "ended: " in printed


def test_custom_policy() -> None:
    printed = run("custom_policy.py", "scripted")
    assert printed.count("supporter: ") >= 2


@pytest.mark.embedded
def test_one_conversation_on_the_embedded_model() -> None:
    printed = run("one_conversation.py")
    assert 1 <= printed.count("Supporter: ") <= 3


def test_corpus_to_dataset() -> None:
    printed = run("corpus_to_dataset.py")
    assert "imported: 1 dialogues" in printed
    assert "kept after cleaning: 1" in printed
    assert "{'train': 4}" in printed or ": 4" in printed


@pytest.mark.embedded
def test_train_supporter() -> None:
    printed = run("train_supporter.py")
    assert "trained 4 steps" in printed
    assert "seated: transformers:m0" in printed


@pytest.mark.embedded
@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.ipynb")), ids=lambda p: p.name)
def test_notebooks(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook,
        timeout=280,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    ).execute()
    outputs = [o for cell in notebook.cells if cell.cell_type == "code" for o in cell.outputs]
    assert outputs
    assert not [o for o in outputs if o.output_type == "error"]


def test_every_example_is_run_here() -> None:
    source = Path(__file__).read_text("utf-8")
    for script in EXAMPLES.glob("*.py"):
        assert f'"{script.name}"' in source
