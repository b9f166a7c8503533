"""`fallback`: who is asked when, and what is told of those who failed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from warmline.core.errors import (
    AllFailed,
    AuthenticationFailed,
    BudgetExceeded,
    ConfigError,
    ContextTooLong,
    EngineTimeout,
    EngineUnavailable,
    ParticipantLeft,
)
from warmline.policies.base import Capabilities
from warmline.policies.wrappers import Budget, Fallback

from .wrapping import ASK, Engine, Scoring

pytestmark = pytest.mark.timeout(30)
TOO_LONG = ContextTooLong(prompt_tokens=9, context_tokens=8)


def failing(error: Exception, name: str = "first") -> Engine:
    return Engine(lambda request: error, name=name)


async def test_the_first_answers_while_it_can() -> None:
    second = Engine(name="second")
    reply = await Fallback(Engine(name="first"), then=second).respond(ASK)
    assert (reply.policy, reply.attempts, reply.notes) == ("fallback(first)", 1, None)
    assert not second.asked


async def test_the_next_answers_and_the_failures_are_told() -> None:
    first, second = failing(EngineTimeout("slow")), failing(TOO_LONG, "second")
    policy = Fallback(first, then=[second, Engine(name="third")])
    for _ in range(2):  # nothing is learned: the first is asked again each time
        reply = await policy.respond(ASK)
        assert reply.text == "seed 5"
        assert reply.policy == "fallback(third)"
        assert reply.attempts == 3
        assert reply.notes == {
            "fallback": {"failed": [
                "first: EngineTimeout: slow",
                "second: ContextTooLong: a prompt of 9 tokens does not fit into a context of 8"
                " tokens",
            ]}
        }  # fmt: skip
    assert len(first.asked) == 2


async def test_only_retryable_failures_on_request() -> None:
    second = Engine(name="second")
    with pytest.raises(ContextTooLong):
        await Fallback(failing(TOO_LONG), then=second, only_retryable=True).respond(ASK)
    assert not second.asked
    policy = Fallback(failing(EngineUnavailable("gone")), then=second, only_retryable=True)
    assert (await policy.respond(ASK)).policy == "fallback(second)"


@pytest.mark.parametrize(
    ("errors", "retryable", "fatal"),
    [
        ((EngineTimeout("a"), AuthenticationFailed("b")), True, False),
        ((AuthenticationFailed("a"), BudgetExceeded("b")), False, True),
        ((TOO_LONG, AuthenticationFailed("b")), False, False),
    ],
)
async def test_all_failed(errors: tuple[Exception, ...], retryable: bool, fatal: bool) -> None:
    policy = Fallback(failing(errors[0]), then=failing(errors[1], "second"))
    with pytest.raises(AllFailed, match=r"(?s)every policy failed:.*first: .*second: ") as caught:
        await policy.respond(ASK)
    assert (caught.value.retryable, caught.value.fatal) == (retryable, fatal)
    assert caught.value.__cause__ is errors[1]


async def test_a_person_who_leaves_is_not_replaced() -> None:
    with pytest.raises(ParticipantLeft):
        await Fallback(failing(ParticipantLeft("bye")), then=Engine()).respond(ASK)


async def test_bugs_are_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        await Fallback(failing(ZeroDivisionError()), then=Engine()).respond(ASK)


async def test_a_spent_budget_hands_over() -> None:
    first = Engine(name="first")
    policy = Fallback(Budget(first, tokens=120), then=Engine(name="second"))
    answered = [(await policy.respond(ASK)).policy for _ in range(3)]
    assert answered == ["fallback(first)", "fallback(second)", "fallback(second)"]


async def test_names_and_mappings_make_policies() -> None:
    policy = Fallback(
        failing(EngineTimeout("slow")),
        then={"name": "scripted", "script": ["made"], "wrap": ["limit:concurrency=2"]},
    )
    assert (await policy.respond(ASK)).text == "made"
    assert Fallback(Engine(), then="scripted").name == "fallback(engine, scripted)"


def test_identity_names_all_in_order() -> None:
    described = Fallback(Engine(name="a"), then=[Engine(name="b"), Engine(name="c")]).describe()
    assert described["policy"] == "fallback(a, b, c)"
    assert [described[f"choice_{n}"]["policy"] for n in (1, 2, 3)] == ["a", "b", "c"]


def test_capabilities_are_those_that_all_have() -> None:
    one = Engine(able=Capabilities(schema=True, logprobs=True, sampling=frozenset({"top_p"})))
    two = Engine(able=Capabilities(schema=True, prefill=True, seed=False))
    able = Fallback(one, then=two).capabilities
    assert able == Capabilities(schema=True, seed=False, sampling=frozenset({"top_p"}))


async def test_all_are_opened_and_closed_even_if_closing_one_fails() -> None:
    class Stuck(Engine):
        async def aclose(self) -> None:
            await super().aclose()
            raise EngineUnavailable("stuck")

    engines = [Engine(), Stuck(), Engine()]
    policy = Fallback(engines[0], then=engines[1:])
    await policy.open()
    with pytest.raises(EngineUnavailable):
        await policy.aclose()
    assert [(e.opened, e.closed) for e in engines] == [(1, 1)] * 3


async def test_scores_fall_back_too() -> None:
    class Deaf(Scoring):
        async def score(self, request: Any, continuation: str) -> Any:
            raise EngineUnavailable("gone")

    scored = await Fallback(Deaf(), then=Scoring()).score(ASK, "a bb")
    assert [entry.logprob for entry in scored] == [-1.0, -2.0]


async def test_being_cancelled_is_no_failure() -> None:
    second = Engine()
    policy = Fallback(Engine(hold=asyncio.Event()), then=second)
    asked = asyncio.create_task(policy.respond(ASK))
    await asyncio.sleep(0.01)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    assert asked.cancelled()
    assert not second.asked


@pytest.mark.parametrize(
    ("then", "message"),
    [
        ([], "at least one policy"),
        ([3], "takes a policy, not int"),
        ([{"script": []}], "needs a name"),
        ("scriptd", "did you mean 'scripted'"),
    ],
)
def test_impossible_choices(then: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Fallback(Engine(), then=then)
