"""Scripted policies: which line, which function, which seed."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from warmline.core.errors import ConfigError
from warmline.policies.base import FinishReason, Message, Request, Usage
from warmline.policies.scripted import NotScripted, ScriptedPolicy


def ask(role: str = "seeker", turn: int = 0, **changes: object) -> Request:
    fields = {"messages": (Message("user", "Well then?"),), "role": role,
              "observation": SimpleNamespace(turn=turn)}  # fmt: skip
    return Request(**{**fields, **changes})  # type: ignore[arg-type]


async def said(policy: ScriptedPolicy, *requests: Request) -> list[str]:
    return [(await policy.respond(request)).text for request in requests]


async def test_lines_go_by_role_and_turn_and_begin_again() -> None:
    policy = ScriptedPolicy(seeker=["a", "b"], supporter=["c"])
    requests = [ask(turn=2), ask(turn=1), ask("supporter", 1), ask(turn=0)]
    assert await said(policy, *requests) == ["a", "b", "c", "a"]


async def test_neither_order_nor_concurrency_matters() -> None:
    policy = ScriptedPolicy({"seeker": [f"line {n}" for n in range(50)]})
    replies = await asyncio.gather(*(policy.respond(ask(turn=n)) for n in reversed(range(50))))
    assert [reply.text for reply in replies] == [f"line {n}" for n in reversed(range(50))]


async def test_one_list_serves_every_role() -> None:
    policy = ScriptedPolicy(["x", "y"])
    assert await said(policy, ask("seeker", 1), ask("judger", 1)) == ["y", "y"]


async def test_without_an_observation_own_messages_are_counted() -> None:
    messages = (Message("user", "?"), Message("assistant", "a"), Message("user", "?"))
    request = Request(messages, role="seeker")
    assert await said(ScriptedPolicy(["a", "b"]), request) == ["b"]


async def test_functions_plain_and_async() -> None:
    async def later(request: Request) -> str:
        await asyncio.sleep(0)
        return f"later {request.seed}"

    assert await said(ScriptedPolicy(lambda r: f"now {r.seed}"), ask(seed=3)) == ["now 3"]
    assert await said(ScriptedPolicy(later), ask(seed=3)) == ["later 3"]


async def test_without_a_script_lines_are_numbered() -> None:
    assert await said(ScriptedPolicy(), ask(turn=1)) == ["This is line 2 of the seeker."]


async def test_a_role_that_the_script_leaves_out_is_an_error() -> None:
    with pytest.raises(NotScripted, match="no lines for the role 'supporter'; it has: seeker"):
        await ScriptedPolicy(seeker=["a"]).respond(ask("supporter"))


async def test_choices_without_lines_are_seeded() -> None:
    policy, options = ScriptedPolicy(), tuple("abcdefgh")
    drawn = await said(policy, *(ask(seed=seed, choices=options) for seed in range(30)))
    assert drawn == await said(policy, *(ask(seed=seed, choices=options) for seed in range(30)))
    assert set(drawn) <= set(options)
    assert len(set(drawn)) > 3


async def test_the_prefill_begins_the_answer_once() -> None:
    policy = ScriptedPolicy(["feel lost.", "I feel lost."])
    requests = [ask(turn=0, prefill="I"), ask(turn=1, prefill="I")]
    assert await said(policy, *requests) == ["I feel lost.", "I feel lost."]


async def test_words_are_counted_as_tokens() -> None:
    reply = await ScriptedPolicy(["three words here"]).respond(ask())
    assert reply.usage == Usage(2, 0, 3)
    assert reply.finish_reason is FinishReason.STOP
    chosen = await ScriptedPolicy(["a"]).respond(ask(choices=("a",)))
    assert chosen.finish_reason is FinishReason.CHOICE


async def test_requests_are_kept_unless_switched_off() -> None:
    keeps, forgets = ScriptedPolicy(["a"]), ScriptedPolicy(["a"], record=False)
    await said(keeps, ask(seed=1), ask(seed=2))
    await said(forgets, ask())
    assert [request.seed for request in keeps.requests] == [1, 2]
    assert forgets.requests == []


@pytest.mark.parametrize(
    "script", ["one string", {"seeker": "one string"}, [], {"seeker": []}, [1]]
)
def test_lines_must_be_lists_of_strings(script: object) -> None:
    with pytest.raises(ConfigError, match="list of at least one string"):
        ScriptedPolicy(script)  # type: ignore[arg-type]


def test_a_script_and_lines_together_are_refused() -> None:
    with pytest.raises(ConfigError, match="not both"):
        ScriptedPolicy(["a"], seeker=["b"])


async def test_a_function_must_answer_a_string() -> None:
    with pytest.raises(ConfigError, match="answered int for the seeker, not str"):
        await ScriptedPolicy(lambda r: 3).respond(ask())  # type: ignore[arg-type,return-value]


def test_the_lines_are_the_identity() -> None:
    assert ScriptedPolicy(["a"]).describe() != ScriptedPolicy(["b"]).describe()
    assert ScriptedPolicy(seeker=["a"]).describe() == ScriptedPolicy({"seeker": ["a"]}).describe()
