"""The papers' tables are whole: every published row stands in one, every command can be typed."""

from __future__ import annotations

import pytest

from warmline.core.errors import ConfigError
from warmline.core.published import published_table, published_tables
from warmline.evaluation.tables.settings import TablesSettings, make_plan
from warmline.evaluation.tables.specs import FIELDS, filled, known_papers, read_paper

PAPERS = {"fpemf": "FPEMF", "sweetiechat": "SweetieChat", "self-evolution": "Self-Evolution"}


def test_there_are_three_papers_and_the_questions() -> None:
    assert known_papers() == ["fpemf", "questions", "self-evolution", "sweetiechat"]
    with pytest.raises(ConfigError, match="did you mean 'fpemf'"):
        read_paper("fpmef")


@pytest.mark.parametrize("key", PAPERS)
def test_every_published_row_stands_in_a_table(key: str) -> None:
    """With every figure of the row in a column, in the setting that the paper printed it for."""
    shown: set[tuple[str, str, str, str]] = set()
    for table in read_paper(key).tables:
        for use in table.rows:
            for name in use.published:
                found = published_table(name, table.setting)
                system = name.partition(": ")[2]
                shown |= {
                    (found.name, found.setting, system, metric)
                    for metric in found.rows[system]
                    if metric in table.columns
                }
    printed = {
        (table.name, table.setting, system, metric)
        for table in published_tables()
        if table.name.startswith(PAPERS[key])
        for system, figures in table.rows.items()
        for metric in figures
    }
    assert printed - shown == set()
    assert shown - printed == set()


def test_the_ablation_of_fpemf_has_its_eight_rows() -> None:
    [table] = [t for t in read_paper("fpemf").tables if t.key == "table-3"]
    beside = [name for use in table.rows for name in use.published if "w/o" in name]
    assert len(beside) == 8


@pytest.mark.parametrize("key", known_papers())
def test_every_row_can_be_filled(key: str) -> None:
    """By a command, or by people: those tables say so."""
    paper = read_paper(key)
    for table in paper.tables:
        for use in table.rows:
            row = paper.row(use.row)
            template = table.measure if use.command is None else use.command
            by_people = table.source == "agreement" and key == "self-evolution"
            assert template or row.make or by_people, f"{table.key}: {use.row}"
            field = FIELDS[table.source]
            places = make_plan(paper, TablesSettings()).places(row, field)
            assert places, f"{table.key}: {use.row} has no {field}"


def test_names_are_words_of_a_shell() -> None:
    words = {"a": "my folder", "b": "--policy openai --model x", "c": ""}
    assert filled("warmline x {a} {b} {c} --out y", words) == (
        "warmline x 'my folder' --policy openai --model x --out y"
    )


def test_what_does_not_fit_a_paper_is_refused_with_what_would() -> None:
    paper = read_paper("self-evolution")
    with pytest.raises(ConfigError) as refused:
        make_plan(
            paper,
            TablesSettings.model_validate(
                {"names": {"bse": "x"}, "seeds": [0, 0], "rows": {"vanila": {"evaluations": ["e"]}}}
            ),
        )
    told = str(refused.value)
    assert "did you mean 'base'" in told
    assert "did you mean 'vanilla'" in told
    assert "seeds: one occurs twice" in told
    twice = {"m0": {"evaluations": ["e", "e"]}}
    with pytest.raises(ConfigError, match=r"rows\.m0\.evaluations: e occurs twice"):
        make_plan(paper, TablesSettings.model_validate({"rows": twice}))
    for place, match in (("m0=x", "ROW.FIELD=PLACE"), ("m0.evaluation=x", "'evaluations'")):
        with pytest.raises(ConfigError, match=match):
            make_plan(paper, TablesSettings(places=(place,)))


def test_places_follow_from_seeds_and_from_other_rows() -> None:
    plan = make_plan(read_paper("self-evolution"), TablesSettings(seeds=(0, 1)))
    m1, m0 = plan.row("m1"), plan.row("m0")
    assert plan.places(m0, "models") == (
        "runs/self-evolution/m0/seed0",
        "runs/self-evolution/m0/seed1",
    )
    assert plan.places(m1, "models")[1] == "runs/self-evolution/evolution/seed1/round-1/checkpoint"
    assert plan.places(m1, "judgings")[1] == "judged/self-evolution/m1/seed1.jsonl"
    assert plan.places(plan.row("data-esconv"), "analyses") == ("analyses/self-evolution",)
    three = make_plan(read_paper("sweetiechat"), TablesSettings())
    assert three.places(three.row("untrained"), "models") == ("embedded",) * 3
    assert three.places(three.row("untrained"), "evaluations")[2] == (
        "evals/sweetiechat/untrained/seed2"
    )
    one = make_plan(read_paper("self-evolution"), TablesSettings())
    assert one.places(m0, "models") == ("runs/self-evolution/m0",)
