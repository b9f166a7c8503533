"""Perplexity by token and by word, worked by hand and over a policy that scores."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from warmline import ScriptedPolicy, StrategyCounselor, Supporter
from warmline.agents.conditions import StrategyCondition
from warmline.core.errors import ConfigError, ContextTooLong
from warmline.evaluation.metrics.presets import scores_of
from warmline.evaluation.replies.generate import ReplyMaker
from warmline.evaluation.replies.perplexity import Likelihood, measure_perplexity, score_references
from warmline.evaluation.replies.reply import recorded_turns
from warmline.policies import BasePolicy, Capabilities, Reply, Request
from warmline.policies.base import TokenLogprob

from ..recorded import recorded


class Letters(BasePolicy):
    """Gives every letter the same probability; refuses texts with an `x`."""

    name = "letters"
    capabilities = Capabilities(score=True)

    def __init__(self, nats: float) -> None:
        self.nats = nats
        self.asked: list[tuple[Request, str]] = []

    async def respond(self, request: Request) -> Reply:
        return Reply("Fine.")

    async def score(self, request: Request, continuation: str) -> tuple[TokenLogprob, ...]:
        self.asked.append((request, continuation))
        if "x" in continuation:
            raise ContextTooLong(prompt_tokens=9, context_tokens=8)
        return tuple(TokenLogprob(letter, -self.nats) for letter in continuation)


def test_by_hand() -> None:
    """2 nats over 2 tokens and 4 over 4: exp(6/6); over 1 + 2 words: exp(6/3). One is missing."""
    rows = [
        Likelihood("a", 1, 2.0, 2, 1),
        Likelihood("b", 1, 4.0, 4, 2),
        Likelihood("b", 3, None, 0, 5),
    ]
    figures = measure_perplexity(rows, tokenizer="some tokens")
    token, word = scores_of(figures, count=3, groups=["a", "b"])
    assert token.value == pytest.approx(math.e)
    assert word.value == pytest.approx(math.e**2)
    assert (token.n, token.missing, token.unit) == (2, 1, "")
    assert "some tokens" in token.convention
    nothing = scores_of(measure_perplexity(rows[2:], tokenizer="t"), count=1, groups=[])
    assert (nothing[0].value, nothing[0].missing) == (None, 1)


async def test_recorded_replies_are_scored_after_the_human_history(tmp_path: Path) -> None:
    policy = Letters(0.5)
    maker = ReplyMaker(Supporter(policy))
    found = await score_references([recorded()], maker, out=tmp_path)
    assert [row.turn for row in found] == [2, 4]
    text = "What happened on Monday?"
    assert found[0] == Likelihood("bakery", 2, 0.5 * len(text), len(text), 4)
    request, scored = policy.asked[1]
    assert scored == "You miss the smell. You could bake at home."
    assert any("What happened on Monday?" in m.content for m in request.messages)
    token = scores_of(measure_perplexity(found, tokenizer="t"), count=2, resamples=0)[0]
    assert token.value == pytest.approx(math.exp(0.5))
    again = Letters(0.5)
    assert await score_references([recorded()], ReplyMaker(Supporter(again)), out=tmp_path) == found
    assert not again.asked


async def test_what_does_not_fit_is_missing() -> None:
    said = recorded().utterances
    episode = recorded().model_copy(
        update={"utterances": (*said[:2], type(said[2])(said[2].role, "xyz", "xyz"), *said[3:])}
    )
    found = await score_references([episode], ReplyMaker(Supporter(Letters(1.0))))
    assert [row.nats is None for row in found] == [True, False]


async def test_a_policy_that_cannot_score_is_refused() -> None:
    class CannotAfterAll(Letters):
        capabilities = Capabilities(score=False)

    refused: list[Any] = [ScriptedPolicy(["Fine."]), CannotAfterAll(1.0)]
    for policy in refused:
        with pytest.raises(ConfigError, match="cannot score given text"):
            await score_references([recorded()], ReplyMaker(Supporter(policy)))


async def test_replies_are_scored_under_the_prompt_that_would_be_answered() -> None:
    policy, adviser = Letters(0.5), ScriptedPolicy(counselor=["Question"])
    maker = ReplyMaker(Supporter(policy), counselor=StrategyCounselor(adviser))
    await score_references([recorded()], maker)
    assert len(adviser.requests) == 2
    assert all("should be Question" in r.messages[-1].content for r, _ in policy.asked)
    policy = Letters(0.5)
    oracle = ReplyMaker(Supporter(policy), condition=StrategyCondition.ORACLE)
    await score_references([recorded()], oracle)
    labels = [t.labels[0].value for t in recorded_turns(recorded()) if t.labels][-2:]
    for label, (request, _) in zip(labels, policy.asked, strict=True):
        assert f"should be {label}" in request.messages[-1].content
