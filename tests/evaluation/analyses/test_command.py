"""`warmline analyze`: the record, the tables, the figures, and real data where it is there."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from warmline import Strategy
from warmline.cli import app
from warmline.core.errors import ConfigError
from warmline.evaluation import analyse_files

from ..corpora import episode, write_log
from ..real_data import real_file

WORDS = [
    "rain",
    "road",
    "letter",
    "garden",
    "exam",
    "sister",
    "bakery",
    "window",
    "winter",
    "money",
    "friend",
    "night",
]
RUN = CliRunner()


def corpus(folder: Path, count: int, seed: int) -> Path:
    draw = random.Random(seed)
    made = []
    for number in range(count):
        lines = [" ".join(draw.choices(WORDS, k=draw.randint(3, 9))) for _ in range(8)]
        strategies = draw.sample(list(Strategy), 4)
        kind = draw.choice(["Job Crisis", "Marital Problems"])
        made.append(episode(f"e{number}", lines, strategies=strategies, problem_type=kind))
    return write_log(folder, made)


def test_two_corpora_side_by_side(tmp_path: Path) -> None:
    one, two = corpus(tmp_path / "one", 12, 1), corpus(tmp_path / "two", 9, 2)
    out = tmp_path / "out"
    run = RUN.invoke(app, ["analyze", str(one), f"Other|={two}", "--out", str(out)])
    assert run.exit_code == 0, run.output
    page = (out / "tables.md").read_text()
    assert "| Question |" in page
    assert "| Distinct-2 |" in page
    assert "19.76" in page  # published, SweetieChat Table 6
    assert "Other\\|" in page  # a name cannot break a table
    assert "do not separate" in page
    record = json.loads((out / "analysis.json").read_text())
    assert [each["name"] for each in record["corpora"]] == ["one", "Other|"]
    found = analyse_files([one, ("Other|", two)])
    assert found.page == page
    assert json.loads(found.record) == record
    assert found.figures == ()
    assert [each["dialogues"] for each in record["corpora"]] == [12, 9]
    assert len(record["comparisons"]) == 1
    drawn = {path.name for path in (out / "figures").iterdir()}
    assert {f"{name}.{kind}" for name in (
        "strategies", "strategies-over-progress", "distinct-strategies", "similarity", "lengths",
        "separation-one-other",
    ) for kind in ("svg", "png")} == drawn  # fmt: skip
    assert (out / "figures" / "lengths.png").read_bytes().startswith(b"\x89PNG")


def test_json_is_one_object_and_the_same_each_time(tmp_path: Path) -> None:
    one = corpus(tmp_path / "one", 8, 1)
    first, second = (RUN.invoke(app, ["analyze", str(one), "--json"]) for _ in range(2))
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout)["corpora"][0]["sampled"] == 8
    assert first.stdout == second.stdout


def test_the_limit_and_the_seed_decide(tmp_path: Path) -> None:
    one = str(corpus(tmp_path / "one", 30, 1))
    whole, part, other = (
        json.loads(RUN.invoke(app, ["analyze", one, "--json", *more]).stdout)["corpora"][0]
        for more in ([], ["--limit", "10"], ["--limit", "10", "--seed", "7"])
    )
    assert (whole["sampled"], part["sampled"], part["dialogues"]) == (30, 10, 30)
    assert part["similarity"]["mean"] != other["similarity"]["mean"]
    assert part["utterances_each"] == whole["utterances_each"]


def test_a_corpus_without_labels_has_no_strategy_table_or_figure(tmp_path: Path) -> None:
    one = write_log(tmp_path / "one", [episode(f"e{n}", strategies=(None,)) for n in range(3)])
    out = tmp_path / "out"
    run = RUN.invoke(app, ["analyze", str(one), "--out", str(out)])
    assert run.exit_code == 0, run.output
    assert "## Strategies" not in run.output
    assert not (out / "figures" / "strategies.svg").exists()
    assert (out / "figures" / "similarity.svg").exists()


def test_distinct_in_the_tokens_of_a_model(tmp_path: Path) -> None:
    """A tokenizer that knows one word: everything is the same token, so Distinct-1 is 1 of all."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    known = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    known.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path / "one-word"
    PreTrainedTokenizerFast(tokenizer_object=known, unk_token="[UNK]").save_pretrained(str(folder))
    one = write_log(tmp_path / "one", [episode()])
    run = RUN.invoke(app, ["analyze", str(one), "--tokenizer", str(folder), "--json"])
    assert run.exit_code == 0, run.output
    record = json.loads(run.stdout)
    found = record["corpora"][0]["diversity"]
    assert record["tokenizer"] == "one-word"
    assert found["distinct"]["1"] == pytest.approx(100 / found["tokens"])
    (tmp_path / "empty").mkdir()
    none = RUN.invoke(app, ["analyze", str(one), "--tokenizer", str(tmp_path / "empty")])
    assert "no tokenizer at" in str(none.exception)


def test_no_figures_on_request(tmp_path: Path) -> None:
    one = corpus(tmp_path / "one", 3, 1)
    RUN.invoke(app, ["analyze", str(one), "--out", str(tmp_path / "out"), "--no-figures"])
    assert not (tmp_path / "out" / "figures").exists()


def test_two_of_one_name_are_refused(tmp_path: Path) -> None:
    one, two = corpus(tmp_path / "x" / "run", 3, 1), corpus(tmp_path / "y" / "run", 3, 2)
    run = RUN.invoke(app, ["analyze", str(one), str(two)])
    assert isinstance(run.exception, ConfigError)
    assert "NAME=PATH" in str(run.exception)


def test_esconv_and_failed_esconv(tmp_path: Path) -> None:
    """ESConv's shares lie within a point of SweetieChat Table 2, and FailedESConv separates from it."""
    files = {"esconv": "esconv_dev1070.jsonl.gz", "failed": "FailedESConv.json.gz"}
    for name, file in files.items():
        imported = [
            "import",
            "esconv",
            str(real_file(f"esconv/{file}")),
            "--out",
            str(tmp_path / name),
        ]
        assert RUN.invoke(app, imported).exit_code == 0
    run = RUN.invoke(app, ["analyze", *(str(tmp_path / name) for name in files), "--json"])
    record = json.loads(run.stdout)
    esconv, failed = record["corpora"]
    assert (esconv["dialogues"], failed["dialogues"]) == (1070, 196)
    for strategy in Strategy:
        assert esconv["strategy_shares"][strategy.value] == pytest.approx(strategy.share, abs=0.01)
    assert esconv["progress"][0]["Question"] > 0.5 > esconv["progress"][5]["Question"]
    assert esconv["similarity"]["mean"] < esconv["similarity_in_type"]["mean"]
    assert esconv["adherence"]["own"] > esconv["adherence"]["other"]
    apart = {each["measure"]: each for each in record["comparisons"][0]["separation"]}
    assert apart["seeker thanks at the end"]["separates"]
    assert re.search(r"separate on \d+ of", record["comparisons"][0]["verdict"])
