"""The documents: code blocks run, links lead somewhere, commands exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from warmline.policies.registry import known_policies

ROOT = Path(__file__).parents[1]
PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "benchmarks").glob("*.md"),
]
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.embedded
@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_readmes_examples_run(block: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text("utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_readme_names_every_policy() -> None:
    assert not [name for name in known_policies() if f"`{name}`" not in README]


def test_the_tests_that_the_architecture_promises_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    for path in re.findall(r"`(tests/[\w/.]+\.py)", text):
        assert (ROOT / path).is_file(), path


POINTER = re.compile(r"`([\w/.]+\.(?:py|toml|jinja))`(?:: ((?:`[\w.]+`(?:, )?)+))?")
"""A file in the index of the papers, and the names in it that are meant."""


def test_the_index_of_the_papers_points_at_what_is_there() -> None:
    """A bare file name stands for a file that the page names in full elsewhere."""
    text = (ROOT / "docs" / "papers.md").read_text("utf-8")
    pointers = POINTER.findall(text)
    whole = {path for path, _ in pointers if "/" in path}
    assert len(whole) > 50
    assert not [path for path in whole if not (ROOT / path).is_file()]
    known = {Path(path).name for path in whole}
    assert not [path for path, _ in pointers if "/" not in path and path not in known]
    for path, names in pointers:
        code = (ROOT / path).read_text("utf-8") if names else ""
        for name in re.findall(r"\w+", names):
            defined = rf"^ *(?:(?:async )?def|class) {name}\b|^ *{name}\b[^=\n]*="
            assert re.search(defined, code, re.MULTILINE), f"{path}: {name}"
