"""docs/templates.md says of roles, observations and templates what the code does."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, get_args

import pytest

import warmline
from warmline.agents import observations, templates
from warmline.agents.base import Agent
from warmline.agents.observations import Action, Observation
from warmline.agents.templates import PromptTemplate, known_templates

from ..environments.helpers import scenario, talk

ROLES = (warmline.Seeker, warmline.StrategyCounselor, warmline.Supporter, warmline.Judger)
PAGE = (Path(__file__).parents[2] / "docs" / "templates.md").read_text("utf-8")


def table(first_column: str) -> list[list[str]]:
    """The rows of the table whose first column has this heading."""
    lines = PAGE.split("\n")
    [at] = [n for n, line in enumerate(lines) if line.startswith(f"| {first_column} |")][:1]
    rows = []
    for line in lines[at + 2 :]:
        if not line.startswith("|"):
            return rows
        rows.append([cell.strip() for cell in line[1:-1].split("|")])
    return rows


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def plain(policy: warmline.ScriptedPolicy, kind: type[Agent[Any, Any]]) -> Agent[Any, Any]:
    return kind(policy)


def test_the_roles() -> None:
    rows = [row for row in table("role") if len(row) == 6]
    assert len(rows) == len(ROLES)
    for (role, name, observation, action, template, sampling), kind in zip(
        rows, ROLES, strict=True
    ):
        agent = plain(talk(), kind)
        assert (role, names(name)) == (kind.role.value, [kind.__name__])
        assert names(observation) == [type(agent.observe((), None)).__name__]
        read = agent.read(warmline.Reply(text="Question"))
        assert names(action) == [type(read).__name__]
        assert names(template) == [kind.default_template]
        given = kind.default_sampling.as_dict()
        assert sampling == ", ".join(f"{key} {value}" for key, value in given.items())


def public_fields(record: type[Any]) -> list[str]:
    return [f.name for f in dataclasses.fields(record) if not f.name.startswith("_")]


def test_the_observations_and_actions_and_all_their_fields() -> None:
    known = {
        name: made
        for name, made in vars(observations).items()
        if dataclasses.is_dataclass(made) and made.__module__ == observations.__name__
    }
    actions = {each.__name__ for each in get_args(Action)}
    assert {each.__name__ for each in get_args(Observation)} <= set(known) - actions
    for heading, expected in (("record", set(known) - actions), ("action", actions)):
        rows = {names(name)[0]: names(fields) for name, fields in table(heading)}
        assert set(rows) == expected
        for name, fields in rows.items():
            assert fields == public_fields(known[name]), name


@pytest.fixture(scope="module")
def rendered() -> dict[tuple[str, str], set[str]]:
    """The values that each block was given, by the role's template, in a whole conversation."""
    found: dict[tuple[str, str], set[str]] = {}
    patch = pytest.MonkeyPatch()
    render = PromptTemplate.render

    def watched(self: PromptTemplate, block: str, **values: Any) -> str:
        found.setdefault((self.source, block), set()).update(values)
        return render(self, block, **values)

    patch.setattr(PromptTemplate, "render", watched)
    # a supporter's window of two utterances begins with its own, and so has an opening
    for window in (6, 2, 3):
        warmline.simulate(policy=talk(), scenarios=[scenario()], max_turns=6, history_window=window)
    patch.undo()
    return found


def test_the_blocks_and_their_values(rendered: dict[tuple[str, str], set[str]]) -> None:
    of = {kind.role.value: kind.default_template for kind in ROLES}
    rows = block_rows()
    listed = {(of[role], names(block)[0]): set(names(values)) for role, block, _, values in rows}
    assert listed == rendered
    explained = {names(name)[0] for name, _ in table("value")}
    assert explained == set().union(*listed.values())


def block_rows() -> list[list[str]]:
    """The table of blocks: the second that begins with a role."""
    after = PAGE.partition("## Blocks")[2]
    rows = [line for line in after.split("\n") if re.match(r"\| (seeker|couns|supp|judg)", line)]
    return [[cell.strip() for cell in row[1:-1].split("|")] for row in rows]


def test_the_templates_that_ship_and_what_they_extend() -> None:
    rows = {names(name)[0]: names(parent) for name, parent, _ in table("template")}
    assert sorted(rows) == known_templates()
    for name, parent in rows.items():
        text = (Path(templates.__file__).parent / name).read_text("utf-8")
        assert parent == re.findall(r'{% extends "(.*)" %}', text), name


def test_the_example_is_a_template_that_replaces_one_block() -> None:
    [text] = re.findall(r"```jinja\n(.*?)```", PAGE, re.DOTALL)
    values = {"problem_type": "Burnout", "history": (), "strategy": "Question", "definition": "ask"}
    mine, ours = PromptTemplate(text), PromptTemplate("supporter.jinja")
    assert mine.render("note", **values).startswith("(Your next answer: Question, that is, ask.")
    assert mine.render("opening", **values) == ours.render("opening", **values)
