"""The documentation site: every page is reached, every link leads somewhere, nothing is asked elsewhere.

Zensical itself builds it in `make docs`, which CI runs.
"""

from __future__ import annotations

import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def build(tmp_path: Path) -> dict[str, Any]:
    """The functions of `docs/build.py`, working on a stage of this test."""
    names = runpy.run_path(str(ROOT / "docs" / "build.py"))
    names["gather"].__globals__.update(STAGE=tmp_path / "stage", SITE=tmp_path / "site")
    return names


def test_every_page_is_in_the_navigation_and_every_link_is_another_page(
    build: dict[str, Any], tmp_path: Path
) -> None:
    build["gather"]()
    build["write_reference"]()
    notebooks = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
    for path in notebooks:  # what nbconvert makes of them is `make docs`
        place = tmp_path / "stage" / "notebooks" / path.stem
        place.mkdir(parents=True)
        (place / "index.md").touch()
    assert build["missing_in_navigation"]() == []
    (tmp_path / "stage" / "stray.md").touch()
    assert build["missing_in_navigation"]() == ["stray.md: not in the navigation of zensical.toml"]
    for page in (tmp_path / "stage").glob("*.md"):
        for _, target in build["LINK"].findall(page.read_text("utf-8")):
            if "://" not in target and not target.startswith(("#", "mailto:")):
                there = (page.parent / target.partition("#")[0]).resolve()
                assert there.is_file() or "`" in target, f"{page.name}: {target}"


def test_a_link_that_leads_nowhere_ends_the_build(build: dict[str, Any], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("[gone](nowhere.md)", "utf-8")
    with pytest.raises(SystemExit, match=r"page\.md: nowhere\.md leads nowhere"):
        build["_relinked"](page, Path("page.md"), {})


def test_links_to_sources_become_names(build: dict[str, Any]) -> None:
    page = ROOT / "docs" / "papers.md"
    assert "](../CITATION.cff)" in page.read_text("utf-8")
    text = build["_relinked"](page, Path("papers.md"), {})
    assert "](../CITATION.cff)" not in text
    assert "`CITATION.cff`" in text


def test_requests_to_others_are_found(build: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    page = tmp_path / "site" / "index.html"
    page.write_text('<a href="https://example.org">x</a><img src="house.svg">', "utf-8")
    assert build["foreign_requests"]() == []
    page.write_text('<script src="//cdn.example/x.js"></script>', "utf-8")
    assert len(build["foreign_requests"]()) == 1


def test_the_theme_fetches_no_fonts() -> None:
    settings = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))
    assert settings["project"]["theme"]["font"] is False
    pages = [p.read_text("utf-8") for p in (ROOT / "docs").rglob("*.md")]
    assert not [p for p in pages if "```mermaid" in p]  # its script would come from elsewhere
