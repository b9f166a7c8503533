"""Tables from finished folders: means, differences that stand in the row, cells that are missing."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from typer.testing import CliRunner

from warmline.cli import app
from warmline.core.errors import ConfigError, DataError
from warmline.environments.corpus.seen import Seen, write_seen
from warmline.evaluation.replies.places import reply_lengths
from warmline.evaluation.tables.curves import curves
from warmline.evaluation.tables.make import make_tables
from warmline.evaluation.tables.result import Cell, OurRow, TableResult

from .folders import checkpoint, corpus, evaluated, rating, write_ratings

PAPER = {"temperature": 0.9, "top_p": 0.8, "top_k": 50, "repetition_penalty": 1.2}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus, three evaluations as the paper has them, and one that is not."""
    folder = tmp_path_factory.mktemp("place")
    talks = corpus(folder / "talks")
    for seed in range(3):
        evaluated(folder / f"m0-{seed}", talks, seed=seed)
    evaluated(folder / "plain", talks, preset="esconv", strategy="hidden", limit=2)
    evaluated(folder / "oracle", talks, strategy="oracle")
    return folder


def rows_of(paper: str, table: str, **fields: Any) -> dict[str, OurRow]:
    found = [t for t in make_tables(paper, **fields).tables if t.key == table]
    return {row.key: row for row in found[0].rows}


def named(row: str, *places: Path, field: str = "evaluations") -> tuple[str, ...]:
    return tuple(f"{row}.{field}={place}" for place in places)


def score(folder: Path, metric: str) -> float:
    [result] = json.loads((folder / "scores.json").read_text("utf-8"))
    [value] = [s["value"] for s in result["scores"] if s["metric"] == metric]
    return float(value)


def test_three_runs_are_a_mean_with_its_deviation(place: Path) -> None:
    folders = [place / f"m0-{seed}" for seed in range(3)]
    [row] = rows_of("self-evolution", "table-2", places=named("m0", *folders), given=True).values()
    found = [score(folder, "bleu-2") for folder in folders]
    assert len(set(found)) > 1
    cell = row.cells["bleu-2"]
    assert cell.value == pytest.approx(fmean(found))
    assert cell.deviation == pytest.approx(stdev(found))
    assert cell.runs == 3
    assert [each.name.rpartition(" ")[2] for each in row.published] == ["M0"] * 3
    page = make_tables("self-evolution", places=named("m0", *folders), given=True).page
    assert f"{fmean(found):.2f}±{stdev(found):.2f}" in page
    assert "18.38" in page


def test_what_is_as_in_the_paper_is_not_called_a_difference(place: Path) -> None:
    models = checkpoint(
        place / "paper-model", "sft", strategy="listed", lora_r=8, lora_alpha=16.0,
        lora_targets=["all-linear"], learning_rate=5e-6, warmup=0.01, batch_size=4,
        accumulation=2, epochs=2.0, patience=3, nll="sum", replay_rows=500,
    )  # fmt: skip
    rows = rows_of(
        "self-evolution",
        "table-2",
        places=(*named("m0", place / "m0-0"), *named("m0", models, field="models")),
        given=True,
    )
    assert rows["m0"].differs == ()
    assert rows["m0"].measured == (f"{place / 'talks'}, 4 dialogues, 8 replies",)


def test_every_recorded_difference_stands_in_the_row(place: Path) -> None:
    models = checkpoint(place / "other-model", "sft", strategy="oracle", learning_rate=1e-3)
    row = rows_of(
        "self-evolution",
        "table-2",
        places=(*named("m0", place / "plain"), *named("m0", models, field="models")),
        given=True,
    )["m0"]
    told = ". ".join(row.differs)
    for words in (
        "preset esconv (the paper: self-evolution)",
        "strategy hidden (the paper: listed)",
        "temperature 0.7 (the paper: 0.9)",
        "top k not set (the paper: 50)",
        "trained with strategy oracle (this row: listed)",
        "trained with learning rate 0.001 (this row: 5e-06)",
        "trained with nll not recorded (this row: sum)",
    ):
        assert words in told, words


def test_a_model_whose_training_nobody_recorded_is_said_to_be_so(place: Path) -> None:
    row = rows_of("self-evolution", "table-2", places=named("m0", place / "m0-0"), given=True)["m0"]
    assert "how it was trained is not recorded" in row.differs[0]


def test_the_model_that_was_measured_is_the_one_that_the_evaluation_names(
    place: Path, tmp_path: Path
) -> None:
    for file in ("replies.jsonl", "scores.json"):
        (tmp_path / file).write_bytes((place / "m0-0" / file).read_bytes())
    other = checkpoint(tmp_path / "other", "sft", strategy="hidden")
    config = (place / "m0-0" / "config.toml").read_text("utf-8")
    (tmp_path / "config.toml").write_text(f'model = "{other}"\n{config}', "utf-8")
    claimed = checkpoint(tmp_path / "claimed", "sft", strategy="listed")
    places = named("m0", tmp_path) + named("m0", claimed, field="models")
    told = rows_of("self-evolution", "table-2", places=places, given=True)["m0"].differs
    assert f"what was measured is {other}, and not {claimed}" in told
    assert "trained with strategy hidden (this row: listed)" in told


def test_an_upper_bound_is_called_one(place: Path) -> None:
    row = rows_of("self-evolution", "table-2", places=named("m0", place / "oracle"), given=True)[
        "m0"
    ]
    assert any("AN UPPER BOUND" in told for told in row.differs)


def test_what_was_learned_from_is_not_held_out(place: Path, tmp_path: Path) -> None:
    """`seen` of the scores is carried into the row."""
    folder = tmp_path / "seen"
    folder.mkdir()
    for name in ("replies.jsonl", "config.toml"):
        (folder / name).write_bytes((place / "m0-0" / name).read_bytes())
    [result] = json.loads((place / "m0-0" / "scores.json").read_text("utf-8"))
    result["seen"] = {"supporter": {"dialogues": 4, "train": 1, "validation": 0, "unknown": []}}
    (folder / "scores.json").write_text(json.dumps([result]), "utf-8")
    write_seen(tmp_path, Seen())
    row = rows_of("self-evolution", "table-2", places=named("m0", folder), given=True)["m0"]
    assert any(told.startswith("NOT HELD OUT: supporter: 1 of 4") for told in row.differs)


def test_rows_on_other_places_and_runs_that_are_no_repetitions_are_told(place: Path) -> None:
    places = named("m0", place / "m0-0", place / "m0-1") + named("vanilla", place / "plain")
    rows = rows_of("self-evolution", "table-2", places=places, given=True)
    assert "not on the same places as the other rows" in rows["vanilla"].differs
    assert "not on the same places as the other rows" not in rows["m0"].differs
    mixed = named("m0", place / "m0-0", place / "plain")
    told = ". ".join(rows_of("self-evolution", "table-2", places=mixed, given=True)["m0"].differs)
    assert "its runs differ in strategy: listed, hidden" in told
    assert "its runs were measured on different places" in told


def test_a_missing_cell_has_a_reason_and_the_command_that_fills_it(place: Path) -> None:
    rows = rows_of("self-evolution", "table-2", places=named("m0", place / "m0-0", place / "gone"))
    cell = rows["m0"].cells["bleu-2"]
    assert cell.value is not None
    assert cell.reason == f"{place / 'gone'} is not there"
    measured = [c for c in cell.commands if c.startswith("warmline evaluate")]
    assert [c.endswith(f"--out {place / 'gone'}") for c in measured] == [True]
    bert = rows["m0"].cells["bertscore"]
    assert "bertscore was not measured there" in bert.reason
    assert any("--bertscore roberta-large" in command for command in bert.commands)
    lost = rows["m2"].cells["bleu-2"]
    assert lost.value is None
    assert lost.reason == "evals/self-evolution/m2 is not there"
    steps = [" ".join(command.split()[1:3]) for command in lost.commands]
    assert [s.split()[0] for s in steps] == ["train", "evolve", "evaluate"]
    assert lost.commands[-1].endswith("--out evals/self-evolution/m2")


def test_an_evaluation_that_is_not_finished_is_not_read(place: Path, tmp_path: Path) -> None:
    (tmp_path / "replies.jsonl").write_bytes((place / "m0-0" / "replies.jsonl").read_bytes())
    row = rows_of("self-evolution", "table-2", places=named("m0", tmp_path), given=True)["m0"]
    assert row.cells["bleu-2"].reason == f"{tmp_path} is not finished"
    (tmp_path / "scores.json").write_text("[{", "utf-8")
    with pytest.raises(DataError, match="not JSON"):
        make_tables("self-evolution", places=named("m0", tmp_path))


def test_another_context_is_missing_and_not_taken_for_this_one(place: Path) -> None:
    row = rows_of("sweetiechat", "table-3-generated", places=named("untrained", place / "m0-0"))
    assert (
        "in reference context, not in generated context" in row["untrained"].cells["bleu-2"].reason
    )


def test_changes_are_against_the_row_before(place: Path) -> None:
    places = named("m0", place / "m0-0") + named("m1", place / "m0-1")
    rows = rows_of("self-evolution", "table-6", places=places, given=True)
    before, now = (score(place / f"m0-{n}", "bleu-2") for n in (0, 1))
    assert rows["m1"].cells["bleu-2"].change == pytest.approx(100 * (now - before) / before)
    llama = rows["m1"].published[0]
    assert llama.changes["bleu-2"] == pytest.approx(10.01, abs=0.01)
    assert llama.changes["meteor"] == pytest.approx(15.78, abs=0.01)


def test_rows_of_ones_own_stand_behind_the_papers(place: Path) -> None:
    given = {
        "rows": {
            "mine": {"label": "Mine", "tables": ["table-2"], "evaluations": [str(place / "m0-0")]}
        }
    }
    rows = rows_of("self-evolution", "table-2", **given)
    assert list(rows)[-1] == "mine"
    assert rows["mine"].cells["bleu-2"].value == pytest.approx(score(place / "m0-0", "bleu-2"))


# Other sources


def test_helpful_rates_of_one_reply_and_of_all_beams(tmp_path: Path) -> None:
    shares = {"value": 0.25, "counted": 4, "missing": 0}
    rates = {
        "single": {"empathy": shares},
        "beams": {"empathy": shares | {"value": 0.5}},
        "gold": {},
    }
    (tmp_path / "helpful.json").write_text(json.dumps(rates), "utf-8")
    places = named("fpemf", tmp_path, field="candidates")
    one = rows_of("fpemf", "table-4a", places=places, given=True)["fpemf"]
    ten = rows_of("fpemf", "table-4b", places=places, given=True)["fpemf"]
    assert (one.cells["empathy"].value, ten.cells["empathy"].value) == (25, 50)
    assert one.cells["topic"].reason == "topic was not measured there"
    assert "num beams not recorded (the paper: 10)" in one.differs
    assert "helpful is what holds on empathy alone" in one.differs
    checkpoint(tmp_path, "fpemf")
    trained = rows_of("fpemf", "table-4a", places=places, given=True)["fpemf"]
    assert "the candidates are of the model before this training" in trained.differs


def test_scores_of_a_judge_their_number_and_their_variance(tmp_path: Path) -> None:
    file = write_ratings(
        tmp_path / "m0.jsonl",
        [rating(f"talk{n}", "empathy", value) for n, value in enumerate((1.0, 3.0, None))],
    )
    row = rows_of(
        "self-evolution", "table-7", places=named("m0", file, field="judgings"), given=True
    )
    assert row["m0"].cells["empathy"].value == 2
    assert row["m0"].cells["overall"].reason == "overall was not measured there"
    assert "contexts 3 (the paper: 100)" in row["m0"].differs
    assert row["m0"].measured == ("3 subjects, by judge-x; 1 verdicts unreadable",)
    other = write_ratings(
        tmp_path / "talks.jsonl", [rating(f"t{n}", "safety", n) for n in (2.0, 4.0)]
    )
    spread = rows_of(
        "sweetiechat",
        "table-5-variance",
        places=named("data-served", other, field="judgings"),
        given=True,
    )
    assert spread["data-served"].cells["safety"].value == 1
    two = write_ratings(
        tmp_path / "two.jsonl",
        [rating("a", "empathy", 1.0), rating("a", "empathy", 2.0, rater="y")],
    )
    with pytest.raises(ConfigError, match="give each judge and rubric a file of its own"):
        make_tables("self-evolution", places=named("m0", two, field="judgings"))


def test_a_judge_or_scorer_against_people(tmp_path: Path) -> None:
    values = [(n % 2, (n % 2) if n else 1) for n in range(8)]
    scored = write_ratings(
        tmp_path / "scored.jsonl",
        [rating(f"t{n}", "empathy", float(s), kind="scorer") for n, (s, _) in enumerate(values)],
    )
    people = write_ratings(
        tmp_path / "people.jsonl",
        [
            rating(f"t{n}", "empathy", float(p), kind="human", rater="ann", rubric="")
            for n, (_, p) in enumerate(values)
        ],
    )
    places = named("scored", scored, field="judgings") + named("scored", people, field="people")
    row = rows_of("questions", "scorer", places=places, given=True)["scored"]
    # 4 of 8 by the scorer, 5 of 8 by people, 4 in common: phi = (8·4 − 4·5) / √(4·4·5·3)
    assert row.cells["empathy"].value == pytest.approx(100 * 12 / (240**0.5))
    assert row.cells["empathy, kappa"].value == pytest.approx(75)
    assert any("too few to calibrate" in told for told in row.differs)


def test_wins_ties_and_losses(tmp_path: Path) -> None:
    pairs = [(1.0, 1.0), (1.0, -1.0), (-1.0, -1.0), (1.0, 1.0)]
    compared = [
        rating(f"t{n}", "overall", value, candidate="m1 against m0", notes={"first": first})
        for n, both in enumerate(pairs)
        for first, value in zip("AB", both, strict=True)
    ]
    file = write_ratings(tmp_path / "c.jsonl", compared)
    places = named("m1-m0", file, field="comparisons")
    row = rows_of("self-evolution", "figure-4", places=places, given=True)["m1-m0"]
    assert row.cells["overall"].value == pytest.approx(62.5)
    assert row.cells["overall"].text == "50 / 25 / 25"
    assert "judge judge-x (the paper: people)" in row.differs
    votes = [
        rating("t0", "overall", value, kind="human", rater=who, rubric="", notes={"first": "A"})
        for who, value in (("ann", 1.0), ("bob", 1.0), ("cem", 0.0), ("dua", -1.0))
    ]
    people = write_ratings(tmp_path / "v.jsonl", votes)
    places = named("m1-m0", people, field="comparisons")
    row = rows_of("self-evolution", "figure-4", places=places, given=True)["m1-m0"]
    assert row.cells["overall"].text == "50 / 25 / 25"
    assert not [told for told in row.differs if told.startswith("judge")]


def test_general_ability_with_its_average(tmp_path: Path) -> None:
    tasks = ("gsm8k", "ifeval", "truthfulqa_mc2", "openbookqa", "mmlu_pro")
    record = {
        "model": "m0",
        "settings": {"limit": 5, "chat": True},
        "lm_eval": "0.4.9",
        "average": 30.0,
        "scores": [{"task": t, "metric": "acc", "value": 10.0 * n} for n, t in enumerate(tasks, 1)],
    }
    (tmp_path / "harness.json").write_text(json.dumps(record), "utf-8")
    places = named("m0", tmp_path, field="harness")
    row = rows_of("self-evolution", "table-4", places=places, given=True)["m0"]
    assert [row.cells[name].value for name in (*tasks, "average")] == [10, 20, 30, 40, 50, 30]
    assert "limit 5 (the paper: none)" in row.differs
    record |= {"average": None, "scores": record["scores"][:4]}  # type: ignore[index]
    (tmp_path / "harness.json").write_text(json.dumps(record), "utf-8")
    row = rows_of("self-evolution", "table-4", places=places, given=True)["m0"]
    assert row.cells["average"].reason == "not all five tasks have a score"


def test_corpora_and_their_figures_come_from_an_analysis(place: Path, tmp_path: Path) -> None:
    from warmline.evaluation import analyse_files

    analyse_files([("ESConv", place / "talks")], out=tmp_path, figures=False)
    places = named("data-esconv", tmp_path, field="analyses")
    sizes = rows_of("sweetiechat", "table-1", places=places, given=True)["data-esconv"]
    assert sizes.cells["dialogues"].value == 4
    assert sizes.cells["supporter utterances"].value == 16
    assert sizes.cells["supporter utterances a dialogue"].value == 4
    assert [each.cells["utterances"] for each in sizes.published] == [29278]
    diversity = rows_of("sweetiechat", "table-6", places=places, given=True)["data-esconv"]
    assert "dialogues of distinct 4 (the paper: 1300)" in diversity.differs
    assert any(told.startswith("tokenizer Warmline's words") for told in diversity.differs)
    other = named("data-served", tmp_path, field="analyses")
    lost = rows_of("sweetiechat", "table-1", places=other, given=True)["data-served"]
    assert "has no column" in lost.cells["dialogues"].reason


def test_how_replies_begin(place: Path) -> None:
    row = rows_of("self-evolution", "figure-6", places=named("m0", place / "m0-0"), given=True)[
        "m0"
    ]
    assert row.cells["1"].text.startswith(("i hear how", "you miss the"))
    assert row.cells["different, %"].value == 25


def test_one_system_under_every_convention(place: Path) -> None:
    places = named("listed", place / "m0-0")
    rows = rows_of("questions", "conventions", places=places)
    assert list(rows) == ["esconv", "sacrebleu", "sweetiechat", "spread"]
    ours = [rows[name].cells["bleu-2"].value or 0.0 for name in ("esconv", "sacrebleu")]
    assert ours[0] == pytest.approx(score(place / "m0-0", "bleu-2"))
    assert rows["spread"].cells["bleu-2"].value == pytest.approx(max(ours) - min(ours))
    assert (
        rows["sweetiechat"].cells["bleu-2"].reason
        == "names.tokenizer is not the folder of a tokenizer"
    )
    gap = rows["spread"].published[0]
    assert gap.cells["bleu-2"] == pytest.approx(8.46 - 7.02)


# The command


def test_the_command_writes_pages_figures_and_commands(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = CliRunner().invoke(
        app,
        [
            "tables",
            "self-evolution",
            "--places",
            f"m0.evaluations={place / 'm0-0'}",
            "--out",
            str(out),
        ],
    )
    assert run.exit_code == 0, run.output
    assert "Table 7: a judge on 100 contexts" in run.output
    lines = list(csv.DictReader(io.StringIO((out / "cells.csv").read_text("utf-8"))))
    ours = [
        r for r in lines if r["table"] == "table-2" and r["row"] == "M0" and r["metric"] == "bleu-2"
    ]
    assert ours[0]["whose"] == "ours"
    assert float(ours[0]["value"]) == pytest.approx(score(place / "m0-0", "bleu-2"))
    assert float(ours[1]["value"]) == 18.38
    data = json.loads((out / "tables.json").read_text("utf-8"))
    cells = [c for t in data["tables"] for r in t["rows"] for c in r["cells"].values()]
    assert all(c["reason"] for c in cells if c["value"] is None and not c["text"])
    script = (out / "commands.sh").read_text("utf-8").splitlines()
    assert script[:2] == ["#!/bin/sh", "set -e"]
    assert len(script) == len(set(script))
    assert not [line for line in script if "{" in line]
    made = {line.partition("--out ")[2].partition(" ")[0]: n for n, line in enumerate(script)}
    for line in script:  # a model is made before it is used
        if line.startswith("warmline evolve --held-out"):
            model = line.partition("--model ")[2].split()[0]
            assert model == "embedded" or made[model] < script.index(line)


def test_the_first_file_is_complete_and_says_how_to_fill_it(tmp_path: Path) -> None:
    for paper in ("fpemf", "sweetiechat", "self-evolution", "questions"):
        file = tmp_path / f"{paper}.toml"
        run = CliRunner().invoke(app, ["tables", paper, "--init", "--config", str(file)])
        assert run.exit_code == 0, run.output
        text = file.read_text("utf-8")
        made = make_tables(paper)
        assert all(
            f"[rows.{row.key}]" in text
            for table in made.tables
            for row in table.rows
            if paper != "questions" or table.key != "conventions"
        )
        run = CliRunner().invoke(app, ["tables", paper, "--config", str(file)])
        assert run.exit_code == 0, run.output
        assert made.page in run.output
        again = CliRunner().invoke(app, ["tables", paper, "--init", "--config", str(file)])
        assert "is there already" in str(again.exception)


def test_a_cell_that_holds_nothing_has_a_reason() -> None:
    """Whatever is read: no empty cell without a word."""
    for paper in ("fpemf", "sweetiechat", "self-evolution", "questions"):
        for table in make_tables(paper).tables:
            assert isinstance(table, TableResult)
            for row in table.rows:
                for name, cell in row.cells.items():
                    assert isinstance(cell, Cell)
                    assert cell.value is not None or cell.text or cell.reason, (
                        table.key,
                        row.key,
                        name,
                    )


def test_a_win_rate_at_equal_length(place: Path, tmp_path: Path) -> None:
    """Four pairs of replies of 6 and of 9 words; lengths come from the two evaluations."""
    a, b = evaluated(tmp_path / "a", place / "talks"), place / "m0-1"
    ours, theirs = reply_lengths(a), reply_lengths(b)
    keys = sorted(ours, key=str)
    assert set(ours.values()) | set(theirs.values()) == {6.0, 9.0}
    compared = [
        rating(episode, name, 1.0, utterance=turn, candidate="a against b", notes={"first": first})
        for episode, turn, _ in keys
        for name in ("empathy", "overall")
        for first in "AB"
    ]
    file = write_ratings(tmp_path / "c.jsonl", compared)
    places = (
        *named("gain", file, field="comparisons"),
        *named("gain", a),
        *named("gain", b, field="against"),
    )
    row = rows_of("questions", "length", places=places, given=True)["gain"]
    assert row.measured == (f"{len(keys)} pairs on overall, by judge-x",)
    assert row.cells["win rate"].value == 100
    assert row.cells["at equal length"].value == pytest.approx(100, abs=0.1)
    assert row.cells["low"].reason == "too few conversations for an interval"
    longer = [ours[k] - theirs[k] for k in keys]
    assert row.cells["words longer"].value == pytest.approx(fmean(longer))
    alone = (*named("gain", file, field="comparisons"), *named("gain", tmp_path / "gone"))
    lost = rows_of("questions", "length", places=alone, given=True)["gain"]
    assert "is not there" in lost.cells["win rate"].reason


def test_rows_on_an_axis_are_a_curve(place: Path, tmp_path: Path) -> None:
    places = named("volume-10", place / "m0-0", place / "m0-1") + named("volume-80", place / "m0-2")
    made = make_tables("questions", places=places, given=True, out=str(tmp_path))
    assert made.files[-1] == "figures/volume.svg"
    drawn = (tmp_path / "figures" / "volume.svg").read_text("utf-8")
    root = ET.fromstring(drawn)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    marks = root.findall("{http://www.w3.org/2000/svg}circle")
    metrics = [t for t in made.tables[0].columns if t != "perplexity"]
    assert len(marks) == 2 * len(metrics)
    assert "per cent of the corpus" in drawn
    [table] = [t for t in made.tables if t.key == "volume"]
    flat = replace(table, rows=tuple(replace(row, at=None) for row in table.rows))
    assert curves(flat) is None


def test_what_a_condition_leaves_without_meaning_is_not_to_be_filled(place: Path) -> None:
    rows = rows_of("questions", "strategy", places=named("listed", place / "m0-0"), given=True)
    cell = rows["listed"].cells["strategy-accuracy"]
    assert cell.reason == "under listed nobody chooses a strategy"
    assert cell.commands == ()
    assert rows["listed"].cells["perplexity"].commands
    part = rows_of("self-evolution", "table-2", places=named("m0", place / "plain"), given=True)
    assert "only the first 2 conversations" in part["m0"].differs
    nobody = (*named("scored", place / "scored.jsonl", field="judgings"),)
    write_ratings(place / "scored.jsonl", [rating("a", "empathy", 1.0, kind="scorer")])
    asked = rows_of("questions", "scorer", places=nobody, given=True)["scored"].cells["empathy"]
    assert asked.reason == "people's ratings: people.csv is not there"
    assert asked.commands == ()


def test_the_tables_stand_on_the_page_of_a_report(place: Path, tmp_path: Path) -> None:
    from warmline.evaluation import write_report

    make_tables("self-evolution", places=named("m0", place / "m0-0"), given=True, out=str(tmp_path))
    page = write_report([place / "talks"], tmp_path / "r.html", appendices=[tmp_path])
    assert "Table 2: objective evaluation on ESConv" in page.read_text("utf-8")
