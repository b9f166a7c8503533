"""`budget`: never spends more than it may but for what is in flight, and stops a run in good order."""

from __future__ import annotations

import asyncio
import dataclasses
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import warmline
from warmline.core.errors import (
    BudgetExceeded,
    ConfigError,
    EngineTimeout,
    UnreadableReply,
    Unsupported,
)
from warmline.policies.base import Reply, Request, Usage
from warmline.policies.wrappers import Budget, Cache
from warmline.policies.wrappers.base import estimated_prompt

from .wrapping import ASK, Engine, Scoring

pytestmark = pytest.mark.timeout(30)
PROMPT = estimated_prompt(ASK.messages)


async def test_tokens_run_out() -> None:
    engine = Engine(usage=Usage(100, 20, 10))
    policy = Budget(engine, tokens=350)
    for _ in range(3):
        await policy.respond(ASK)
    assert (policy.spent, policy.left) == (330, 20)
    with pytest.raises(
        BudgetExceeded,
        match=r"budget of 350 tokens would be exceeded: 330 tokens spent(?s:.)*larger budget",
    ) as failure:
        await policy.respond(ASK)
    assert failure.value.fatal
    assert len(engine.asked) == 3


async def test_a_request_that_just_fits_is_let_through() -> None:
    engine = Engine(usage=Usage(PROMPT, 0, 1))
    policy = Budget(engine, tokens=PROMPT)
    await policy.respond(ASK)
    with pytest.raises(BudgetExceeded):
        await Budget(engine, tokens=PROMPT - 1).respond(ASK)
    with pytest.raises(BudgetExceeded):
        await Budget(engine, tokens=PROMPT, spent=1).respond(ASK)


async def test_money() -> None:
    prices: dict[str, Any] = {"prompt_price": 2.0, "completion_price": 10.0}
    policy = Budget(Engine(usage=Usage(1000, 400, 50)), money=1.0, cached_price=0.5, **prices)
    await policy.respond(ASK)
    # 600 fresh at 2, 400 cached at 0.5 and 50 answered at 10, each per million
    assert policy.spent == pytest.approx((600 * 2 + 400 * 0.5 + 50 * 10) / 1e6)
    full = Budget(Engine(usage=Usage(1000, 400, 50)), money=1.0, **prices)
    await full.respond(ASK)
    assert full.spent == pytest.approx((1000 * 2 + 50 * 10) / 1e6), "cached tokens at full price"
    with pytest.raises(BudgetExceeded, match="budget of 1 would be exceeded: 1 spent"):
        await Budget(Engine(), money=1.0, spent=1.0, **prices).respond(ASK)


async def test_cached_replies_cost_nothing(tmp_path: Path) -> None:
    policy = Budget(Cache(Engine(), path=tmp_path / "c.sqlite"), tokens=200)
    async with policy:
        for _ in range(5):
            await policy.respond(ASK)
    assert policy.spent == 110


@settings(max_examples=40, deadline=None)
@given(
    answers=st.lists(st.integers(1, 300), min_size=1, max_size=30),
    concurrency=st.integers(1, 8),
    budget=st.integers(0, 4000),
)
def test_it_is_overshot_by_the_answers_in_flight_at_most(
    answers: list[int], concurrency: int, budget: int
) -> None:
    engine = Engine(lambda r: Reply(text="", usage=Usage(PROMPT, 0, answers[r.seed or 0])))
    policy = Budget(engine, tokens=budget)

    async def ask(queue: Any) -> None:
        for number in queue:
            await policy.respond(dataclasses.replace(ASK, seed=number))

    async def run() -> None:
        queue = iter(range(len(answers)))
        await asyncio.gather(*(ask(queue) for _ in range(concurrency)), return_exceptions=True)

    asyncio.run(run())
    assert policy.spent <= budget + min(concurrency, len(answers)) * max(answers)
    if len(engine.asked) < len(answers):
        assert policy.left < PROMPT + concurrency * PROMPT, "it does not stop early either"


def _fail(failure: Exception, request: Request) -> Exception:
    return failure


async def test_what_fails_for_nothing_is_not_counted_and_what_was_paid_is() -> None:
    failures: list[tuple[Exception, int]] = [
        (EngineTimeout("slow"), 0),
        (UnreadableReply("what?"), PROMPT),
    ]
    for failure, spent in failures:
        policy = Budget(Engine(partial(_fail, failure)), tokens=1000)
        with pytest.raises(type(failure)):
            await policy.respond(ASK)
        assert policy.spent == spent
        assert policy._in_flight == 0


async def test_prompts_in_flight_are_as_good_as_spent() -> None:
    engine = Engine(hold=asyncio.Event(), usage=Usage(PROMPT, 0, 0))
    assert engine._hold is not None
    policy = Budget(engine, tokens=3 * PROMPT)
    asked = [asyncio.create_task(policy.respond(ASK)) for _ in range(5)]
    await asyncio.sleep(0.01)
    engine._hold.set()
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Reply] * 3 + [BudgetExceeded] * 2
    assert policy.left == 0


async def test_a_cancelled_request_is_counted_with_its_prompt() -> None:
    policy = Budget(Engine(hold=asyncio.Event()), tokens=1000)
    asked = asyncio.create_task(policy.respond(ASK))
    await asyncio.sleep(0.01)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    assert (policy.spent, policy._in_flight) == (PROMPT, 0)


async def test_an_engine_that_does_not_count_is_refused_or_estimated() -> None:
    with pytest.raises(Unsupported, match=r"'budget\(engine\)' got no token counts"):
        await Budget(Engine(usage=None), tokens=1000).respond(ASK)
    policy = Budget(Engine(usage=None), tokens=1000, estimate=True)
    await policy.respond(ASK)
    assert policy.spent == PROMPT + 40


async def test_scoring_counts_as_a_prompt() -> None:
    policy = Budget(Scoring(), tokens=1000)
    await policy.score(ASK, "one two three")
    assert policy.spent == PROMPT + 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "set tokens or money, one of the two"),
        ({"tokens": 5, "money": 5.0}, "set tokens or money, one of the two"),
        ({"money": 5.0, "prompt_price": 1.0}, "needs prompt_price and completion_price"),
        ({"tokens": 5, "prompt_price": 1.0}, "prices can only be used with money"),
        ({"tokens": -5}, "below 0"),
        ({"tokens": 5, "spent": -1}, "below 0"),
    ],
)
def test_impossible_budgets(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Budget(Engine(), **options)


# A whole run


def _environment(policy: Any) -> warmline.SupportEnvironment:
    return warmline.SupportEnvironment(
        seeker=policy, counselor=policy, supporter=policy, max_turns=6, case_dialogues=0
    )


def _contents(episodes: list[warmline.Episode]) -> list[dict[str, Any]]:
    return [episode.content() for episode in episodes]


async def test_a_run_stops_in_good_order_and_goes_on_with_more(tmp_path: Path) -> None:
    def talk(record: list[Any]) -> warmline.ScriptedPolicy:
        def answer(request: warmline.Request) -> str:
            record.append(request.seed)
            return request.choices[1] if request.choices else f"I hear number {request.seed}."

        return warmline.ScriptedPolicy(answer)

    scenarios = warmline.draw_scenarios(6, seed=2)
    asked: list[Any] = []
    whole = await warmline.run_batch(_environment(talk(asked)), scenarios, seed=4)
    used = sum(episode.usage.total_tokens for episode in whole)
    calls = sum(len(episode.calls) for episode in whole)

    asked.clear()
    out, cache = tmp_path / "run", tmp_path / "cache.sqlite"
    # the cache outside the budget: what was paid for and lost with its episode is not paid again
    poor = Cache(Budget(talk(asked), tokens=used // 2), path=cache)
    with pytest.raises(BudgetExceeded):
        await warmline.run_batch(_environment(poor), scenarios, out=out, seed=4, concurrency=2)
    finished = warmline.read_episodes(out)
    assert 1 <= len(finished) < 6
    assert all(episode.error is None for episode in finished)
    await poor.aclose()

    rich = Cache(Budget(talk(asked), tokens=used), path=cache)
    episodes = await warmline.run_batch(
        _environment(rich), scenarios, out=out, seed=4, concurrency=2
    )
    await rich.aclose()
    assert _contents(episodes) == _contents(whole)
    assert len(asked) == len(set(asked)) == calls, "each call was made once over both runs"
