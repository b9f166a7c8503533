"""Candidates outside training: in parts, with a counselor, with what was left out on the way."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from warmline.cli import app
from warmline.core.errors import ConfigError, RunError
from warmline.environments.corpus.seen import read_seen
from warmline.environments.episodes.rating import iter_ratings
from warmline.environments.runs.decoding import DECODINGS
from warmline.training.candidates.rows import CandidateLog, iter_candidates
from warmline.training.fpemf.candidates import make_candidates
from warmline.training.fpemf.settings import CandidateRunSettings, FpemfSettings
from warmline.training.fpemf.train import train_fpemf
from warmline.training.reproduction.report import stage_page
from warmline.training.rows.advice import ADVICE_NAME
from warmline.training.rows.left_out import read_left_out

from ...policies.tiny_models import save_causal
from ..building import CHATML, TEMPLATE, varied, write_log
from ..rows.test_advice import ASKED, NAME
from .test_train import Scorer, given


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal(tmp_path_factory.mktemp("causal") / "model", chat_template=CHATML)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("data") / "log", varied(4))


def run_settings(model: Path, data: Path, out: Path, **changed: Any) -> CandidateRunSettings:
    usual: dict[str, Any] = {
        "model": str(model), "data": (str(data),), "out": str(out), "template": TEMPLATE,
        "device": "cpu", "dtype": "float32", "num_candidates": 2, "max_new_tokens": 4,
        "dimensions": ("empathy",), "judge": {"policy": "scripted"},
    }  # fmt: skip
    return CandidateRunSettings(**(usual | changed))


class Counting(Scorer):
    """Notes every reply that it is asked about, with its context."""

    def __init__(self) -> None:
        self.seen: Counter[tuple[str, str]] = Counter()

    async def label(self, prompt: Any, reply: str) -> Any:
        self.seen[prompt[-1].content, reply] += 1
        return await super().label(prompt, reply)


def plain(folder: Path) -> tuple[list[Any], list[str]]:
    """Candidates and ratings of a folder, in any order."""
    sets = sorted((c.id, [x.text for x in c.candidates]) for c in iter_candidates(folder))
    return sets, sorted(r.to_json() for r in iter_ratings(folder / "ratings.jsonl"))


def test_parts_are_joined_without_loss_or_repeat(causal: Path, data: Path, tmp_path: Path) -> None:
    """Of three parts one was killed before it began; the whole finds and judges what is missing."""
    whole = make_candidates(run_settings(causal, data, tmp_path / "whole"), labeller=Scorer())
    judged: Counter[tuple[str, str]] = Counter()
    names: list[str] = []
    for part in ("1/3", "3/3"):
        scorer = Counting()
        cut = run_settings(causal, data, tmp_path / "parts", part=part)
        contexts, rates = make_candidates(cut, labeller=scorer)
        assert (len(contexts), rates) == (4, {})
        names += [context.id for context in contexts]
        assert scorer.asked == 4 * 3
        judged += scorer.seen
        again = Counting()
        make_candidates(cut, labeller=again)
        assert again.asked == 0
    assert len(set(names)) == 8
    assert not (tmp_path / "parts" / "helpful.json").exists()
    last = Counting()
    joined = make_candidates(run_settings(causal, data, tmp_path / "parts"), labeller=last)
    assert last.asked == 4 * 3
    assert max((judged + last.seen).values()) == 1
    assert joined[1] == whole[1]
    assert [c.id for c in joined[0]] == [c.id for c in whole[0]]
    assert plain(tmp_path / "parts/candidates") == plain(tmp_path / "whole/candidates")
    assert len(plain(tmp_path / "parts/candidates")[1]) == 12 * 3
    make_candidates(run_settings(causal, data, tmp_path / "parts"), labeller=Counting())
    assert plain(tmp_path / "parts/candidates") == plain(tmp_path / "whole/candidates")
    assert read_seen(tmp_path / "parts/candidates") == read_seen(tmp_path / "whole/candidates")


def test_nothing_is_joined_while_a_part_is_being_made(
    causal: Path, data: Path, tmp_path: Path
) -> None:
    make_candidates(run_settings(causal, data, tmp_path, part="1/2"), labeller=Scorer())
    with CandidateLog(tmp_path / "candidates", "1/2"):
        with pytest.raises(RunError, match=r"candidates-1-of-2\.jsonl"):
            make_candidates(run_settings(causal, data, tmp_path), labeller=Scorer())
        make_candidates(run_settings(causal, data, tmp_path, part="2/2"), labeller=Scorer())


def test_the_number_of_parts_may_change(causal: Path, data: Path, tmp_path: Path) -> None:
    """A part asks for nothing that another one, of whatever number, has found."""
    make_candidates(run_settings(causal, data, tmp_path, part="1/2"), labeller=Scorer())
    scorer = Counting()
    make_candidates(run_settings(causal, data, tmp_path, part="1/1"), labeller=scorer)
    assert scorer.asked == 6 * 3
    joined, _ = make_candidates(run_settings(causal, data, tmp_path), labeller=Counting())
    assert len(joined) == 12
    assert len(list(iter_candidates(tmp_path / "candidates"))) == 12


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "a/b", "1/0"])
def test_there_is_no_such_part(part: str) -> None:
    with pytest.raises(ConfigError, match="part"):
        run_settings(Path("m"), Path("d"), Path("o"), part=part)


def test_a_counselor_is_asked_about_the_contexts_of_a_part_alone(
    causal: Path, data: Path, tmp_path: Path
) -> None:
    """Of twelve turns four are contexts, two in each part; nobody asks about the others."""
    advised = {"strategy": "advised", "counselor": NAME, "limit": 4}
    ASKED.clear()
    make_candidates(run_settings(causal, data, tmp_path / "whole", **advised), labeller=Scorer())
    assert len(ASKED) == 4
    for part in ("1/2", "2/2"):
        ASKED.clear()
        cut = run_settings(causal, data, tmp_path / "parts", part=part, **advised)
        make_candidates(cut, labeller=Scorer())
        assert len(ASKED) == 2
    ASKED.clear()
    make_candidates(run_settings(causal, data, tmp_path / "parts", **advised), labeller=Scorer())
    assert not ASKED
    assert plain(tmp_path / "parts/candidates") == plain(tmp_path / "whole/candidates")
    files = sorted(file.name for file in (tmp_path / "parts").glob("advice*"))
    assert files == ["advice-1-of-2.jsonl", "advice-2-of-2.jsonl", ADVICE_NAME]
    other = run_settings(causal, data, tmp_path / "parts", **advised | {"counselor": "scripted"})
    with pytest.raises(RunError, match="counselor"):
        make_candidates(other, labeller=Scorer())


def test_the_prompts_name_what_the_counselor_said(causal: Path, data: Path, tmp_path: Path) -> None:
    ASKED.clear()
    settings = run_settings(causal, data, tmp_path, strategy="advised", counselor=NAME, limit=4)
    made, _ = make_candidates(settings, labeller=Scorer())
    said = sorted(r.choices[len(r.messages) % 8] for r in ASKED if r.choices)
    shown = sorted(c.messages[-1].content.rpartition("(")[2].rstrip(")") for c in made)
    assert shown == said


def test_rates_on_dialogues_that_the_model_learned_from_say_so(
    causal: Path, data: Path, tmp_path: Path
) -> None:
    trained = given(causal, data, tmp_path / "fpemf", max_steps=1, validation_share=0.0)
    train_fpemf(trained, labeller=Scorer())
    assert "seen" not in json.loads((tmp_path / "fpemf/helpful.json").read_text())
    own = run_settings(tmp_path / "fpemf", data, tmp_path / "own", limit=3)
    made, _ = make_candidates(own, labeller=Scorer())
    asked = len({context.episode for context in made})
    told = json.loads((tmp_path / "own/helpful.json").read_text("utf-8"))["seen"]
    assert told.startswith(f"NOT HELD OUT: model: {asked} of {asked} dialogues were seen before")
    assert told in stage_page(tmp_path / "own")
    fresh = write_log(tmp_path / "fresh", [e for e in varied(9) if e.id > "talk5"])
    other = run_settings(tmp_path / "fpemf", fresh, tmp_path / "other", limit=3)
    make_candidates(other, labeller=Scorer())
    assert "seen" not in json.loads((tmp_path / "other/helpful.json").read_text("utf-8"))


# What is left out


def test_a_training_inherits_what_its_candidates_left_out(
    causal: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of twelve turns some are too long for 160 tokens: the training on the folder counts them."""
    short = run_settings(causal, data, tmp_path / "made", max_tokens=160)
    made, _ = make_candidates(short, labeller=Scorer())
    kept = read_left_out(tmp_path / "made/candidates")
    assert kept is not None
    [(reason, count)] = [(each.reason, each.count) for each in kept]
    assert (reason, count) == ("too_long", 12 - len(made))
    assert 0 < count < 12
    capsys.readouterr()
    settings = given(
        causal, data, tmp_path / "trained", candidates=str(tmp_path / "made/candidates"),
        max_steps=1, num_candidates=2,
    )  # fmt: skip
    trained = train_fpemf(settings, labeller=Scorer(), console=Console(width=300)).checkpoint
    assert {each.reason: each.count for each in trained.left_out} == {"too_long": count}
    assert trained.left_out[0].examples == kept[0].examples
    assert f"{count} too long (talk" in capsys.readouterr().out


def test_candidates_without_a_record_say_so(
    causal: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of an earlier version; nothing is said to be complete that is not known to be."""
    make_candidates(run_settings(causal, data, tmp_path / "made"), labeller=Scorer())
    (tmp_path / "made/candidates/left_out.json").unlink()
    settings = given(
        causal, data, tmp_path / "trained", candidates=str(tmp_path / "made/candidates"),
        max_steps=1, num_candidates=2,
    )  # fmt: skip
    train_fpemf(settings, labeller=Scorer(), console=Console(width=300))
    assert "what was left out there is not recorded" in capsys.readouterr().out


def test_samples_that_repeat_themselves_are_counted(
    causal: Path, data: Path, tmp_path: Path
) -> None:
    """A scripted policy has one answer a context, and two were asked for."""
    settings = run_settings(
        causal, data, tmp_path, source="sampling",
        sampler={"policy": "scripted", "options": {"script": ["Go on."]}},
    )  # fmt: skip
    made, _ = make_candidates(settings, labeller=Scorer())
    missing = sum(2 - len(each.candidates) for each in made)
    assert missing > 0
    found = read_left_out(tmp_path / "candidates")
    assert found is not None
    assert {each.reason: each.count for each in found} == {"candidate_not_found": missing}


# Decoding


def test_the_preset_carries_its_decoding() -> None:
    """FPEMF states its beams alone; the rest is of its predecessor's code."""
    figures = {"temperature": 0.7, "top_p": 0.9, "max_tokens": 40}
    assert DECODINGS["fpemf"] == figures
    usual: dict[str, Any] = {"preset": "fpemf", "judge": {"policy": "scripted"}}
    for kind in (CandidateRunSettings, FpemfSettings):
        made = kind(**usual)
        assert made.sampler.sampling().as_dict() == figures
        search = made.search()
        assert (search["min_new_tokens"], search["no_repeat_ngram_size"]) == (10, 3)
        assert (search["num_beams"], search["num_groups"], search["max_new_tokens"]) == (10, 10, 40)
        own = kind(**usual, min_new_tokens=2, sampler={"policy": "scripted", "temperature": 1.0})
        assert own.search()["min_new_tokens"] == 2
        assert own.sampler.sampling().as_dict() == figures | {"temperature": 1.0}
        assert own.sampler.policy == "scripted"
        assert own.max_tokens == 1024
        plain = kind(judge={"policy": "scripted"})
        assert plain.sampler.sampling().as_dict() == {}


def test_the_command_says_how_to_see_the_rates(causal: Path, data: Path, tmp_path: Path) -> None:
    (tmp_path / "short.jinja").write_text(TEMPLATE, "utf-8")
    words = [
        "candidates", "--model", str(causal), str(data), "--out", str(tmp_path / "out"),
        "--template", str(tmp_path / "short.jinja"), "--device", "cpu", "--dtype", "float32",
        "--num-candidates", "2", "--max-new-tokens", "4", "--dimensions", "topic",
        "--judge.policy", "scripted",
    ]  # fmt: skip
    part = CliRunner().invoke(app, [*words, "--part", "1/2"])
    assert part.exit_code == 0, part.output
    assert "the same command without it joins all parts" in part.output
    assert "warmline helpful" not in part.output
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    shown = done.output.partition("rates with intervals: ")[2].splitlines()[0].split()
    rates = CliRunner(env={"COLUMNS": "120"}).invoke(app, shown[1:])
    assert rates.exit_code == 0, rates.exception
    rows = [line.split() for line in rates.output.splitlines() if " helpful " in line]
    assert [row[row.index("helpful") - 1] for row in rows] == ["single", "beams", "gold"]
