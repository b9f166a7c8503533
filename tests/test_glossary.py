"""docs/glossary.md: in order, and about what is there."""

from __future__ import annotations

import re
from pathlib import Path

import warmline
from warmline.agents.conditions import StrategyCondition
from warmline.agents.roles import Role, Stage, Strategy
from warmline.environments import StopReason
from warmline.environments import __all__ as of_environments

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "glossary.md").read_text("utf-8")
TERMS = dict(re.findall(r"^\*\*(.+?)\*\*: (.+)$", PAGE, re.MULTILINE))


def test_terms_stand_in_order_and_once() -> None:
    found = re.findall(r"^\*\*(.+?)\*\*", PAGE, re.MULTILINE)
    assert found == sorted(set(found), key=str.casefold)
    assert len(TERMS) == len(found) > 70  # each has an explanation on its line


def test_closed_lists_are_whole() -> None:
    for term, values in {
        "role": Role,
        "stage": Stage,
        "strategy": Strategy,
        "stop reason": StopReason,
        "strategy condition": StrategyCondition,
    }.items():
        named = re.findall(r"`([^`]+)`", TERMS[term])
        assert [each for each in named if not hasattr(warmline, each)] == [v.value for v in values]


def test_every_condition_and_role_is_explained() -> None:
    assert {each.value for each in (*StrategyCondition, *Role)} <= set(TERMS)


def test_names_of_classes_exist() -> None:
    known = {*warmline.__all__, *of_environments, "Say", "Advise", "Judge"}
    strategies = {strategy.value for strategy in Strategy}
    named = {
        name
        for text in TERMS.values()
        for name in re.findall(r"`([A-Z]\w+)`", text)
        if name not in strategies
    }
    assert len(named) > 10
    assert named <= known


def test_headings_that_are_linked_to_exist() -> None:
    links = re.findall(r"\]\((\w[\w-]*\.md)#([\w-]+)\)", PAGE)
    assert len(links) > 5
    for page, heading in links:
        text = (ROOT / "docs" / page).read_text("utf-8")
        slugs = {
            re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
            for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        }
        assert heading in slugs, f"{page}#{heading}"
