"""CITATION.cff and the BibTeX of the papers say the same, and what the project says of itself."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAPERS = (ROOT / "docs" / "papers.md").read_text("utf-8")
OWN, *ENTRIES = re.findall(r"@(\w+)\{(\w+),\n(.*?)\n\}", PAPERS, re.DOTALL)


@pytest.fixture(scope="module")
def citation() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml")
    return dict(yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8")))


def test_the_citation_is_of_this_version(citation: dict[str, Any]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert citation["abstract"] == f"{project['description']}."
    assert citation["keywords"] == project["keywords"]
    for field in ("cff-version", "message", "title", "authors"):  # those that the format requires
        assert citation[field], field


def fields_of(body: str) -> dict[str, str]:
    pairs = re.findall(r"^ *(\w+) *= *\{(.*)\},?$", body, re.MULTILINE)
    return {name: re.sub(r"[{}]", "", value) for name, value in pairs}


def test_the_bibtex_of_warmline_says_the_same(citation: dict[str, Any]) -> None:
    kind, name, body = OWN
    fields = fields_of(body)
    assert (kind, name) == ("software", "warmline")
    assert [fields["title"], fields["version"]] == [citation["title"], citation["version"]]
    assert fields["author"] == citation["authors"][0]["name"]
    assert fields["year"] == str(citation["date-released"])[:4]
    assert f"{fields['note']}." == citation["abstract"]


def test_there_are_three_papers_in_both(citation: dict[str, Any]) -> None:
    assert [name for _, name, _ in ENTRIES] == ["fpemf", "sweetiechat", "selfevolution"]
    assert len(citation["references"]) == 3


@pytest.mark.parametrize("number", range(3))
def test_both_forms_say_the_same(citation: dict[str, Any], number: int) -> None:
    kind, _, body = ENTRIES[number]
    bibtex, cff = fields_of(body), citation["references"][number]
    assert kind == {"unpublished": "unpublished", "conference-paper": "inproceedings"}[cff["type"]]
    assert bibtex["title"] == cff["title"]
    names = [
        each.get("name") or f"{each['family-names']}, {each['given-names']}"
        for each in cff["authors"]
    ]
    assert bibtex["author"].split(" and ") == names
    assert bibtex.get("year") == (str(cff["year"]) if "year" in cff else None)
    if "pages" in bibtex:
        assert bibtex["pages"] == f"{cff['start']}--{cff['end']}"
        assert bibtex["booktitle"] == cff["collection-title"]
    assert f"*{bibtex['title']}" in PAPERS.partition("## How to cite")[0]
