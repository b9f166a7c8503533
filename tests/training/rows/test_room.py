"""Models of few positions: a short prompt that fits, or a refusal with the numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from warmline.agents.conditions import StrategyCondition
from warmline.agents.roles import Strategy
from warmline.agents.templates import PromptTemplate
from warmline.core.errors import ConfigError, RunError
from warmline.evaluation.replies.evaluate import evaluate
from warmline.training.fpemf.contexts import candidate_sets
from warmline.training.fpemf.settings import CandidateRunSettings
from warmline.training.loop.base_model import load_base
from warmline.training.loop.checkpoint import read_checkpoint
from warmline.training.rows.build import build_rows
from warmline.training.rows.encode import RowEncoder, encode_rows
from warmline.training.rows.room import Room
from warmline.training.rows.settings import RowSettings
from warmline.training.sft.train import train_sft

from ...policies.tiny_models import save_causal, save_seq2seq
from ..building import CHATML, settings, varied, write_log


def model(folder: Path, kind: str) -> Path:
    """512 positions, of which a letter or two takes one: for the shipped prompts a short model."""
    if kind == "causal":
        return save_causal(folder / "model", chat_template=CHATML, layers=1)
    return save_seq2seq(folder / "model", kind=kind)


@pytest.mark.parametrize("kind", ["causal", "blenderbot"])
def test_a_prompt_that_does_not_fit_is_refused_with_the_numbers(kind: str, tmp_path: Path) -> None:
    data = write_log(tmp_path / "log", varied(3))
    given = settings(model(tmp_path, kind), data, tmp_path / "out", template=None, max_steps=1)
    with pytest.raises(ConfigError) as refused:
        train_sft(given)
    text = str(refused.value)
    assert "positions of the model 512" in text
    assert "the shortest of" in text
    assert "the system message alone has" in text
    assert "short = true" in text
    assert "lower history_window, which is 6" in text


@pytest.mark.parametrize("kind", ["causal", "blenderbot", "t5"])
@pytest.mark.parametrize("strategy", ["hidden", "oracle"])
def test_the_short_form_fits(kind: str, strategy: str, tmp_path: Path) -> None:
    """The same model learns from the same turns, and answers to the same form by itself."""
    data = write_log(tmp_path / "log", varied(3))
    named = model(tmp_path, kind)
    given = settings(
        named, data, tmp_path / "out", template=None, short=True, strategy=strategy, max_steps=1,
        validation_share=0.0, evaluate_every=None,
    )  # fmt: skip
    made = train_sft(given).checkpoint
    assert made.rows["train"] == 9
    assert made.left_out == ()
    [result] = evaluate(
        str(data), policy="transformers", model=str(tmp_path / "out"), max_tokens=4, resamples=0,
        options={"device": "cpu"}, limit=1, strategy="hidden",
    )  # fmt: skip
    assert result.failed == 0
    assert [text for text in result.warnings() if "template" in text or "view" in text] == []


def test_an_evaluation_that_does_not_fit_names_the_numbers(tmp_path: Path) -> None:
    data = write_log(tmp_path / "log", varied(1))
    how: dict[str, Any] = {"options": {"device": "cpu"}, "max_tokens": 4, "resamples": 0}
    with pytest.raises(RunError, match=r"none of 3 replies(?s:.*)\d+ tokens(?s:.*)512"):
        evaluate(str(data), policy="transformers", model=str(model(tmp_path, "causal")), **how)


def test_an_encoder_decoder_has_its_positions_twice() -> None:
    """400 tokens of prompt and 300 of reply fit a model of 512 if both sides have a model each."""
    room = Room(1024, 512)
    assert room.fault(400, 100, apart=False) is None
    assert room.fault(400, 300, apart=False) == "700 tokens, at most 512"
    assert room.fault(400, 300, apart=True) is None
    assert room.fault(600, 30, apart=True) == "600 tokens of prompt, at most 512"
    assert room.fault(30, 600, apart=True) == "600 tokens of reply, at most 512"
    assert Room(500, 512).fault(400, 300, apart=True) == "700 tokens, at most 500"
    assert Room(1024, 128, 40).fault(128, 30, apart=True) is None
    assert Room(1024, 128, 40).fault(60, 30, apart=False) == "90 tokens, at most 88"


def test_rows_of_an_encoder_decoder_may_fill_its_encoder(tmp_path: Path) -> None:
    """Positions cut to the longest prompt: every row fits, though prompt and reply are longer."""
    base = load_base(str(model(tmp_path, "blenderbot")))
    encoder = RowEncoder(base.tokenizer, base.model.config, base.model.generation_config)
    rows = build_rows(varied(3), RowSettings(short=True, strategy="hidden")).rows
    encoded, _, _ = encode_rows(encoder, rows, 4096)
    longest = max(len(row.input_ids) for row in encoded)
    assert not encode_rows(encoder, rows, Room(4096, longest))[2]
    one = encode_rows(encoder, rows, Room(4096, longest - 1))[2]
    assert one
    assert f"{longest} tokens of prompt, at most {longest - 1}" in {row.detail for row in one}


def test_candidates_that_do_not_fit_are_refused_with_the_numbers(tmp_path: Path) -> None:
    from rich.console import Console

    base = load_base(str(model(tmp_path, "causal")))
    given = CandidateRunSettings(
        model="m", data=(str(write_log(tmp_path / "log", varied(2))),), out=str(tmp_path / "out"),
        judge={"policy": "scripted"}, max_new_tokens=8,
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"at most 504(?s:.*)of which 8 are kept.*short = true"):
        candidate_sets(given, base, Console(quiet=True))


def test_the_short_templates_say_what_the_long_ones_must() -> None:
    """No diagnosis, danger to life, how to close; and the strategies where the condition says so."""
    values = {
        "problem_type": "Job Crisis", "max_sentences": 3, "strategies": tuple(Strategy), "cases": (),
    }  # fmt: skip
    for condition in StrategyCondition:
        text = PromptTemplate(condition.template(short=True)).render("system", **values)
        assert "not a therapist" in text
        assert "crisis line" in text
        assert "N/A" in text
        assert "Job Crisis" in text
        listed = condition in (StrategyCondition.LISTED, StrategyCondition.SELF)
        assert {strategy.value in text for strategy in Strategy} == {listed}
        assert len(text.split()) < (75 if listed else 50)


def test_what_has_no_room_beside_it_is_refused() -> None:
    for more in ({"definitions": True}, {"case_dialogues": 1}, {"template": "x.jinja"}):
        with pytest.raises(ConfigError, match="short leaves no room for"):
            RowSettings(short=True, **more)


def test_the_form_is_in_the_record(tmp_path: Path) -> None:
    data = write_log(tmp_path / "log", varied(2))
    given = settings(
        model(tmp_path, "causal"), data, tmp_path / "out", template=None, short=True,
        strategy="hidden", max_steps=1,
    )  # fmt: skip
    train_sft(given)
    assert read_checkpoint(tmp_path / "out").settings["short"] is True
    assert json.loads((tmp_path / "out/training.json").read_text())["short"] is True
