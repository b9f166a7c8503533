"""A checkpoint is measured under the prompts that it was trained with, and what differs is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from warmline.agents.conditions import StrategyCondition
from warmline.agents.roles import Strategy
from warmline.core.errors import ConfigError
from warmline.environments.corpus.seen import Seen, write_seen
from warmline.environments.runs.trained import PromptForm, trained_form
from warmline.evaluation.replies.evaluate import evaluate
from warmline.evaluation.replies.places import caveats_of
from warmline.evaluation.replies.settings import EvaluationSettings
from warmline.evaluation.replies.trained import prompt_form
from warmline.policies.base import Capabilities, Request, TokenLogprob
from warmline.policies.scripted import ScriptedPolicy

from ..recorded import recorded


class Seated(ScriptedPolicy):
    """A policy of a checkpoint; scores letters."""

    capabilities = Capabilities(schema=True, prefill=True, score=True)

    def __init__(self, folder: Path) -> None:
        super().__init__(lambda request: "I see.")
        self.model_folders = ("base", str(folder))
        self.scored: list[Request] = []

    async def score(self, request: Request, continuation: str) -> tuple[TokenLogprob, ...]:
        self.scored.append(request)
        return tuple(TokenLogprob(letter, -1.0) for letter in continuation)


def checkpoint(folder: Path, **settings: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    record = {"kind": "sft", "settings": {"strategy": "listed", "template": None} | settings}
    (folder / "checkpoint.json").write_text(json.dumps(record), "utf-8")
    write_seen(folder, Seen())
    return folder


def asked(folder: Path, **settings: Any) -> tuple[Any, Seated]:
    policy = Seated(folder)
    [result] = evaluate([recorded()], policy=policy, resamples=0, **settings)
    return result, policy


def lists(request: Request) -> bool:
    return all(strategy.value in request.messages[0].content for strategy in Strategy)


def test_replies_and_perplexity_are_under_the_condition_of_the_training(tmp_path: Path) -> None:
    result, policy = asked(checkpoint(tmp_path / "m0"), perplexity=True)
    assert result.condition is StrategyCondition.LISTED
    assert policy.requests
    assert policy.scored
    assert all(map(lists, [*policy.requests, *policy.scored]))
    assert result.warnings() == []
    told = {s.metric: s.convention for s in result.scores}
    assert "strategy listed" in told["perplexity"]
    assert "strategy listed" in told["perplexity-word"]


def test_another_condition_is_flagged_in_every_table(tmp_path: Path) -> None:
    out = tmp_path / "eval"
    result, policy = asked(
        checkpoint(tmp_path / "m0"), strategy="hidden", perplexity=True, out=str(out)
    )
    assert not any(map(lists, [*policy.requests, *policy.scored]))
    [told] = result.warnings()
    assert told == (
        "NOT AS TRAINED: supporter was trained with strategy listed and answers under hidden"
    )
    assert told in (out / "tables.md").read_text("utf-8")
    assert caveats_of(out) == (f"eval: {told}",)


def test_the_whole_form_is_taken_over(tmp_path: Path) -> None:
    """Definitions, short prompts, a template and the window of the training."""
    _, policy = asked(checkpoint(tmp_path / "a", strategy="hidden", definitions=True))
    assert Strategy.QUESTION.definition in policy.requests[0].messages[0].content
    own = "{% block system %}Own words.{% endblock %}{% block note %}{% endblock %}"
    _, policy = asked(checkpoint(tmp_path / "b", template=own, history_window=1))
    assert policy.requests[-1].messages[0].content == "Own words."
    assert len(policy.requests[-1].messages) == 2
    _, policy = asked(checkpoint(tmp_path / "c", short=True, strategy="hidden"))
    assert len(policy.requests[-1].messages[0].content) < 300
    told, policy = asked(checkpoint(tmp_path / "c", short=True, strategy="hidden"), short=False)
    assert len(policy.requests[-1].messages[0].content) > 300
    assert "template supporter_short.jinja and answers to supporter.jinja" in told.warnings()[0]
    told, policy = asked(checkpoint(tmp_path / "b", template=own), history_window=4)
    assert "6 utterances in view and answers to 4" in told.warnings()[0]


def test_the_upper_bound_is_never_a_default(tmp_path: Path) -> None:
    """Names of earlier versions are read; a model trained under `oracle` is asked without a note."""
    result, policy = asked(checkpoint(tmp_path / "m0", strategy="shown"))
    assert result.condition is StrategyCondition.HIDDEN
    assert "strategy oracle and answers under hidden" in result.warnings()[0]
    assert "your next answer should be" not in str(policy.requests)


def test_a_model_trained_on_advice_needs_its_counselor(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "m0", strategy="advised")
    with pytest.raises(ConfigError, match="needs a counselor, and the model was trained under it"):
        asked(folder)
    result, _ = asked(folder, strategy="hidden")
    assert "strategy advised and answers under hidden" in result.warnings()[0]
    result, _ = asked(folder, counselor=ScriptedPolicy(["Question"]))
    assert result.condition is StrategyCondition.ADVISED
    assert result.warnings() == []


def test_perplexity_of_a_model_that_chooses_itself_is_refused(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "m0", strategy="self")
    with pytest.raises(ConfigError, match="recorded replies do not begin with a choice"):
        asked(folder, perplexity=True)
    result, _ = asked(folder)
    assert result.condition is StrategyCondition.SELF


def test_a_base_model_has_no_form(tmp_path: Path) -> None:
    assert trained_form(ScriptedPolicy(["Yes."])) is None
    assert trained_form(Seated(tmp_path)) is None
    result, _ = asked(tmp_path)
    assert result.condition is StrategyCondition.HIDDEN
    assert result.warnings() == []


def test_records_of_other_kinds_are_passed_over(tmp_path: Path) -> None:
    """A scorer beside the supporter has a `strategy` that is a table; logged prompts have no form."""
    checkpoint(tmp_path / "m0", strategy="hidden")
    policy = Seated(tmp_path / "m0")
    (tmp_path / "scorer").mkdir()
    record = {"kind": "scorer", "settings": {"strategy": "mi.csv"}}
    (tmp_path / "scorer/checkpoint.json").write_text(json.dumps(record), "utf-8")
    policy.model_folders = (*policy.model_folders, str(tmp_path / "scorer"))
    found = trained_form(policy)
    assert found is not None
    assert found.strategy is StrategyCondition.HIDDEN
    checkpoint(tmp_path / "m0", as_asked=True)
    assert trained_form(policy) is None
    checkpoint(tmp_path / "m0")
    policy.model_folders = (str(tmp_path / "m0" / "merged"),)
    assert trained_form(policy) == PromptForm(StrategyCondition.LISTED)


def test_the_short_form_has_no_definitions() -> None:
    with pytest.raises(ConfigError, match="short leaves no room for definitions"):
        evaluate([recorded()], policy="scripted", short=True, definitions=True)
    form = prompt_form(EvaluationSettings(short=True), None, advised=False)
    assert (form.template_name, form.window) == ("supporter_short.jinja", 2)


def test_the_preset_of_fpemf_asks_as_its_predecessor_does() -> None:
    policy = ScriptedPolicy(lambda request: "I see.")
    [result] = evaluate([recorded()], policy=policy, preset="fpemf", resamples=0)
    figures = {"temperature": 0.7, "top_p": 0.9, "max_tokens": 40}
    assert all(request.sampling.as_dict() == figures for request in policy.requests)
    assert result.condition is StrategyCondition.HIDDEN
    assert next(iter(result.published)) == "FPEMF Table 3: BBJ"
