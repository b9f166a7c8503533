"""The commands that the papers' tables name are accepted, and make what the rows say they make."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import typer

from warmline.agents.conditions import StrategyCondition
from warmline.cli import app
from warmline.core.options import nested
from warmline.core.record import Record
from warmline.core.settings import read_settings
from warmline.evaluation.judging.settings import JudgeSettings
from warmline.evaluation.tables.make import make_tables
from warmline.evaluation.tables.reading import differences
from warmline.evaluation.tables.settings import TablesSettings, make_plan
from warmline.evaluation.tables.specs import RowSpec, known_papers, read_paper
from warmline.evaluation.tables.training import model_facts
from warmline.policies.base import Message
from warmline.training.evolution.evolve import evolve
from warmline.training.evolution.settings import EvolveSettings
from warmline.training.fpemf.settings import FpemfSettings
from warmline.training.fpemf.train import train_fpemf
from warmline.training.reproduction.stages import KINDS, read_command
from warmline.training.sft.settings import SftSettings

from ..policies.tiny_models import save_causal
from .building import CHATML, TEMPLATE, varied, write_log
from .evolution.test_evolve import given as evolving
from .evolution.test_evolve import place as place  # the fixture of its tiny model and talks
from .evolution.test_evolve import policy


def commands(paper: str) -> list[str]:
    """Every command that a paper's tables can show, filled in."""
    plan = make_plan(read_paper(paper), TablesSettings())
    rows = {row.key: row for row in plan.paper.rows}
    found = [plan.command(each.command, None, "", 0) for each in plan.paper.prepare]
    for row in plan.paper.rows:
        found += [plan.command(text, row, plan.place(row, "models", 0), 0) for text in row.make]
    for table in plan.paper.tables:
        for use in table.rows:
            text = table.measure if use.command is None else use.command
            if text:
                found.append(plan.command(text, rows[use.row], "out/place", 0))
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("paper", known_papers())
def test_every_command_of_the_tables_is_accepted(paper: str) -> None:
    """By the command line's own parser; and where it has a settings record, by that."""
    stages = {kind.words for kind in KINDS.values()}
    whole: Any = typer.main.get_command(app)
    for command in commands(paper):
        words = shlex.split(command)
        assert words[0] == "warmline"
        group = whole
        path: list[str] = []
        rest = words[1:]
        while hasattr(group, "commands"):
            path.append(rest.pop(0))
            group = group.commands[path[-1]]
        context = group.make_context(path[-1], list(rest))
        if tuple(path) in stages:
            read_command(shlex.join(words[1:]))
        if path == ["judge"]:
            known = JudgeSettings.model_fields
            read_settings(
                JudgeSettings,
                given=nested(
                    {k: v for k, v in context.params.items() if k.partition("__")[0] in known}
                ),
            )


def settings_of(row: RowSpec, paper: str) -> tuple[str, Record]:
    """What the last command that makes a row asks for."""
    plan = make_plan(read_paper(paper), TablesSettings())
    text = plan.command(row.make[-1], row, "out", 0)
    name, given = read_command(text.removeprefix("warmline "))
    return name, KINDS[name].settings(**given)


@pytest.mark.parametrize("paper", known_papers())
def test_a_row_is_made_with_the_settings_that_it_is_checked_for(paper: str) -> None:
    """What `training` expects of the checkpoint is what the command trains with."""
    kinds = {"train_sft": "sft", "train_fpemf": "fpemf", "evolve": "dpo"}
    checked = 0
    for row in read_paper(paper).rows:
        if row.training:
            name, settings = settings_of(row, paper)
            facts = {**settings.model_dump(mode="json"), "kind": kinds[name]}
            assert differences(row.training, facts) == [], row.key
            checked += 1
    assert checked >= 4


class Scorer:
    """Finds replies with an even number of characters helpful."""

    async def label(self, prompt: tuple[Message, ...], reply: str) -> Mapping[str, float | None]:
        return {"empathy": float(len(reply) % 2 == 0)}


TINY: dict[str, Any] = {
    "template": TEMPLATE,
    "dtype": "float32",
    "device": "cpu",
    "max_steps": 1,
    "max_new_tokens": 4,
    "dimensions": ("empathy",),
    "strategy": "listed",  # a counselor's advice would need a counselor; the rest is the row's
    "counselor": None,
    "patience": 0,
}
ABLATIONS = [r.key for r in read_paper("fpemf").rows if r.training.get("kind") == "fpemf"]


@pytest.mark.parametrize("key", ABLATIONS)
def test_every_ablation_of_fpemf_trains_and_says_what_it_is(key: str, tmp_path: Path) -> None:
    """A tiny model trained by the row's own settings; its checkpoint differs in nothing else."""
    model = save_causal(tmp_path / "model", chat_template=CHATML, layers=1)
    data = write_log(tmp_path / "log", varied(4))
    [row] = [r for r in read_paper("fpemf").rows if r.key == key]
    _, asked = settings_of(row, "fpemf")
    assert isinstance(asked, FpemfSettings)
    mine = TINY | {"model": str(model), "data": (str(data),), "out": str(tmp_path / "out")}
    train_fpemf(FpemfSettings(**(asked.model_dump() | mine)), labeller=Scorer())
    facts = model_facts(str(tmp_path / "out"))
    assert facts is not None
    wanted = row.training | {"strategy": "listed"}
    if key != "fpe":  # the paper's settings that this test makes small are told as differences
        assert differences(wanted, facts) == []
    other = {"mf": "fpe"}.get(key, "mf" if key == "fpemf" else "fpemf")
    [beside] = [r for r in read_paper("fpemf").rows if r.key == other]
    same_settings = {key, other} == {"mf", "fpemf"}  # these two differ in their data alone
    assert bool(differences(beside.training | {"strategy": "listed"}, facts)) is not same_settings


def test_conditions_of_training_are_five() -> None:
    found = [settings_of(r, "questions")[1] for r in read_paper("questions").rows[:5]]
    assert all(isinstance(each, SftSettings) for each in found)
    assert [each.strategy for each in found if isinstance(each, SftSettings)] == list(
        StrategyCondition
    )


@pytest.mark.parametrize("variant", ["gold", "refined"])
def test_variants_with_split_rounds_are_told_from_the_paper_s_loop(
    variant: str, place: Path, tmp_path: Path
) -> None:
    """An evolution of a tiny model, read as the rows of Table 5 and of Figure 5."""
    out = tmp_path / "evolution"
    changed = {"split_rounds": True, "variant": variant, "validation_share": 0.0, "max_steps": 1}
    evolve(evolving(place, out, **changed), supporter=policy())
    key = {"gold": "hm-1", "refined": "sr-1"}[variant]
    [row] = [r for r in read_paper("self-evolution").rows if r.key == key]
    facts = model_facts(str(out / "round-1" / "checkpoint"))
    assert facts is not None
    assert differences(row.training, facts) == []
    [loop] = [r for r in read_paper("self-evolution").rows if r.key == "m1"]
    told = " ".join(differences(loop.training, facts))
    assert "split rounds on (the paper: off)" in told
    assert ("variant gold (the paper: refined)" in told) is (variant == "gold")
    places = tuple(f"m{n}.pairs={out / f'round-{n}' / 'pairs'}" for n in (1, 2))
    made = make_tables("self-evolution", places=places, given=True)
    shown = {table.key: table for table in made.tables}
    assert list(shown) == ["figure-5a", "figure-5b"]
    summary = json.loads((out / "round-1" / "pairs" / "summary.json").read_text("utf-8"))
    first = shown["figure-5a"].rows[0]
    assert first.cells["chosen"].value == pytest.approx(summary["relevance"]["chosen"])
    assert len(first.cells["chosen by tenths, %"].text.split()) == 10
    alike = shown["figure-5b"].rows[0].cells["alike median"].value
    assert alike == summary["relevance"]["distributions"]["alike"]["median"]


def test_evolve_settings_of_the_tables_are_the_papers() -> None:
    """The loop of M1 and M2: nothing but model, data, sides and gate is given; measuring comes later."""
    [row] = [r for r in read_paper("self-evolution").rows if r.key == "m1"]
    _, settings = settings_of(row, "self-evolution")
    assert isinstance(settings, EvolveSettings)
    assert settings.model_fields_set == {
        "model", "data", "held_out", "gate", "evaluate", "seed", "out",
    }  # fmt: skip
