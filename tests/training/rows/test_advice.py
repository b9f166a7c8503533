"""`advised` on recorded dialogues: a counselor is asked once, at training as at answering."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from warmline.agents.roles import Strategy
from warmline.core.errors import ConfigError
from warmline.evaluation.replies.evaluate import evaluate
from warmline.policies.base import Request
from warmline.policies.scripted import ScriptedPolicy
from warmline.training.preferences.contexts import advised, contexts_of
from warmline.training.preferences.pairs import preference_pairs
from warmline.training.preferences.settings import PairSettings
from warmline.training.rows.advice import ADVICE_NAME, advice_for
from warmline.training.rows.build import build_rows
from warmline.training.rows.settings import RowSettings
from warmline.training.sft.settings import SftSettings
from warmline.training.sft.train import read_data

from ..building import TALK, TEMPLATE, episode, varied, write_log

ASKED: list[Request] = []


def choose(request: Request) -> str:
    """Another strategy than the label, by the length of the dialogue."""
    ASKED.append(request)
    assert request.choices is not None
    return request.choices[len(request.messages) % 8]


def counselor() -> ScriptedPolicy:
    """For settings, as an import string."""
    return ScriptedPolicy(choose)


NAME = f"{__name__}:counselor"


def settings(**changed: Any) -> RowSettings:
    return RowSettings(strategy="advised", counselor=NAME, template=TEMPLATE, **changed)


def notes(rows: Any) -> list[str]:
    """The strategy that each prompt names last."""
    return [row.prompt[-1].content.rpartition("(")[2].rstrip(")") for row in rows]


def test_the_prompt_names_the_counselors_choice_and_never_the_label() -> None:
    ASKED.clear()
    talk = episode()
    advice = advice_for([talk], settings())
    built = build_rows([talk], settings(), advice)
    assert not built.bad
    assert notes(built.rows) == [r.choices[len(r.messages) % 8] for r in ASKED]
    assert notes(built.rows) != [strategy.value for _, _, strategy in TALK]
    assert [row.strategy for row in built.rows] == [strategy for _, _, strategy in TALK]
    whole = build_rows([talk], settings(per="conversation"), advice).rows
    assert all(note in str(whole[0].messages) for note in notes(built.rows))


def test_advice_is_asked_once_and_kept(tmp_path: Path) -> None:
    ASKED.clear()
    talks = varied(4)
    first = advice_for(talks[:2], settings(), tmp_path)
    assert len(ASKED) == 6
    lines = (tmp_path / ADVICE_NAME).read_text("utf-8").splitlines()
    assert len(lines) == 6
    assert {Strategy(json.loads(line)["advice"]) for line in lines}
    whole = advice_for(talks, settings(), tmp_path)
    assert len(ASKED) == 12
    assert first.given.items() <= whole.given.items()
    advice_for(talks, settings(), tmp_path)
    assert len(ASKED) == 12


def test_only_the_turns_that_are_named_are_asked_about(tmp_path: Path) -> None:
    ASKED.clear()
    advice = advice_for(varied(4), settings(), tmp_path, among={"talk1#3", "talk2#1"})
    assert len(ASKED) == 2
    assert build_rows(varied(4), settings(), advice).faults == {"no_advice": 10}
    rows = build_rows(varied(4), settings(), advice, {"talk1#3"})
    assert [row.id for row in rows.rows] == ["talk1#3"]
    assert not rows.bad


def test_another_counselor_is_asked_anew(tmp_path: Path) -> None:
    talk = episode()
    advice_for([talk], settings(), tmp_path)
    other = advice_for([talk], settings(), tmp_path, policy=ScriptedPolicy(["Question"]))
    assert notes(build_rows([talk], settings(), other).rows) == ["Question"] * 3


def test_without_a_counselor_recorded_turns_are_counted() -> None:
    built = build_rows([episode()], RowSettings(strategy="advised", template=TEMPLATE))
    assert built.faults == {"no_advice": 3}
    assert "name a counselor" in built.bad[0].detail


def test_a_counselor_without_the_condition_is_refused() -> None:
    with pytest.raises(ConfigError, match="strategy listed asks no counselor"):
        RowSettings(counselor=NAME)
    with pytest.raises(ConfigError, match="counselor_model: no counselor is named"):
        RowSettings(counselor_model="x")


def test_training_and_answering_show_the_same_prompt(tmp_path: Path) -> None:
    """SweetieChat's supporter takes the preset; `evaluate` asks the same counselor."""
    ASKED.clear()
    log = write_log(tmp_path / "log", varied(3))
    (tmp_path / "short.jinja").write_text(TEMPLATE, "utf-8")
    chosen = SftSettings(
        preset="sweetiechat", counselor=NAME, data=(str(log),), out=str(tmp_path / "out"),
        template=str(tmp_path / "short.jinja"), validation_share=0.0,
    )  # fmt: skip
    assert chosen.strategy == "advised"
    rows = read_data(chosen).train
    assert (tmp_path / "out" / ADVICE_NAME).is_file()
    prompts: dict[str, Any] = {}

    def answer(request: Request) -> str:
        prompts.setdefault(request.session, []).append(request.messages)
        return "I hear you."

    evaluate(
        str(log), policy=ScriptedPolicy(answer), counselor=counselor(), resamples=0,
        template=str(tmp_path / "short.jinja"), concurrency=1,
    )  # fmt: skip
    trained = [row.prompt for row in rows]
    answered = [messages for each in prompts.values() for messages in each]
    assert sorted(map(repr, trained)) == sorted(map(repr, answered))


def test_pairs_ask_it_about_their_own_form_of_the_dialogue(tmp_path: Path) -> None:
    given = PairSettings(
        strategy="advised", counselor=NAME, template=TEMPLATE, out=str(tmp_path),
        greeting_first=0, greeting_last=0,
    )  # fmt: skip
    ASKED.clear()
    contexts = advised(contexts_of([episode()], given, Counter()), [episode()], given, tmp_path)
    assert len(contexts) == 3
    assert notes(c.row for c in contexts) == [r.choices[len(r.messages) % 8] for r in ASKED]


def test_each_part_of_pairs_asks_about_its_own_contexts(tmp_path: Path) -> None:
    """Four of twelve turns are contexts; two jobs ask two questions each, the last one none."""
    log = write_log(tmp_path / "log", varied(4))
    (tmp_path / "short.jinja").write_text(TEMPLATE, "utf-8")

    def asked(name: str, part: str | None = None) -> list[Any]:
        ASKED.clear()
        given = PairSettings(
            strategy="advised", counselor=NAME, template=str(tmp_path / "short.jinja"),
            data=(str(log),), out=str(tmp_path / name), part=part, limit=4, variant="gold",
            greeting_first=0, greeting_last=0,
        )  # fmt: skip
        policy = ScriptedPolicy(lambda request: f"Bad {request.seed}.")
        pairs, _ = preference_pairs(given, supporter=policy)
        return [len(ASKED), len(policy.requests), pairs]

    *counts, whole = asked("whole")
    assert counts == [4, 4]
    assert len(whole) == 4
    for part in ("1/2", "2/2"):
        assert asked("parts", part) == [2, 2, []]
    assert asked("parts") == [0, 0, whole]
