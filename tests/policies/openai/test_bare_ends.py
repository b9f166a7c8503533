"""Models whose template begins the thinking: answers hold only the mark that ends it, if that."""

import warnings
from typing import Any

import pytest

from warmline.core.errors import UnreadableReply
from warmline.policies.base import FinishReason, Reply, Request, Sampling
from warmline.policies.openai.policy import OpenAIPolicy

from .test_thinking import ASK, CAPPED, CHOICE, SAID, THOUGHT, Answer, DialectServer, thinking

pytestmark = pytest.mark.timeout(30)

BARE = f"{THOUGHT}\n</think>\n\n{SAID}"
CUT = {"content": THOUGHT, "finish_reason": "length"}
SHORT = Request(ASK.messages, seed=1, max_sentences=3, sampling=Sampling(max_tokens=50))
ON = Request(ASK.messages, seed=1, max_sentences=3, sampling=Sampling(max_tokens=50, thinking="on"))


def is_trial(body: dict[str, Any]) -> bool:
    return body["messages"][-1]["content"] == "Just say OK."


def is_on(body: dict[str, Any]) -> bool:
    return bool(body.get("chat_template_kwargs", {}).get("thinking"))


async def twice(answer: Answer) -> tuple[list[Reply], list[dict[str, Any]]]:
    """Two replies of a policy that was opened on such a server, and what the server was asked."""
    async with thinking(answer) as (server, policy):
        return [await policy.respond(SHORT) for _ in range(2)], server.chats


async def test_a_trial_cut_by_its_limit_is_asked_again_with_room() -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        return dict(CUT) if body["max_tokens"] < 2048 else {"content": BARE}

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with thinking(answer) as (server, policy):
            reply = await policy.respond(SHORT)
    assert len(server.chats) == 1, "learned at open"
    assert reply.thinking == THOUGHT
    assert reply.text.startswith(CAPPED)
    assert reply.finish_reason is FinishReason.SENTENCES


async def test_a_trial_that_never_ends_is_told_and_the_first_whole_answer_teaches() -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        return dict(CUT) if is_trial(body) or body["max_tokens"] < 2048 else {"content": BARE}

    with pytest.warns(UserWarning, match="within 2048 tokens.*thinking_in_prompt = true"):
        (first, again), chats = await twice(answer)
    assert first.thinking == again.thinking == THOUGHT
    assert (first.text, first.finish_reason) == (SAID, FinishReason.STOP)
    assert again.text.startswith(CAPPED)
    assert again.finish_reason is FinishReason.SENTENCES
    assert ["stream" in body for body in chats] == [False, True]


async def test_a_trial_without_answer_leaves_it_to_the_first_whole_answer() -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        return {"error": {"message": "not that question"}} if is_trial(body) else {"content": BARE}

    with pytest.warns(UserWarning, match="did not answer the trial question"):
        replies, _ = await twice(answer)
    assert [reply.thinking for reply in replies] == [THOUGHT] * 2
    assert replies[1].finish_reason is FinishReason.SENTENCES


async def test_a_template_that_begins_thinking_only_when_it_is_switched_on() -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        if "response_format" in body:
            return {"content": '{"choice": "YES"}'}
        if not is_on(body):
            return {"content": SAID}
        return {"content": BARE} if body["max_tokens"] > 2000 else dict(CUT)

    choose = Request(ASK.messages, choices=CHOICE.choices, sampling=ON.sampling)
    async with thinking(answer) as (server, policy):
        plain = await policy.respond(SHORT)
        await policy.respond(choose)  # a form hides how it would begin
        first, again = await policy.respond(ON), await policy.respond(ON)
        plain_again = await policy.respond(SHORT)
    assert (first.thinking, first.text) == (THOUGHT, SAID)
    assert (again.thinking, again.finish_reason) == (THOUGHT, FinishReason.SENTENCES)
    assert [reply.attempts for reply in (first, again)] == [1, 1], "room at once"
    assert plain.text == plain_again.text
    assert plain_again.finish_reason is FinishReason.SENTENCES, "streamed as before"
    assert [body.get("max_tokens") for body in server.chats[2:4]] == [2098, 2098]


async def test_thinking_without_an_end_is_an_error_and_no_utterance() -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        return dict(CUT) if is_on(body) else {"content": "OK"}

    async with thinking(answer) as (_, policy):
        with pytest.raises(UnreadableReply, match="thinking_in_prompt = false"):
            await policy.respond(ON)


async def test_a_model_that_does_not_think_is_streamed_after_one_answer() -> None:
    async with thinking({"content": SAID}) as (server, policy):
        replies = [await policy.respond(ON) for _ in range(2)]
    assert [reply.thinking for reply in replies] == [None, None]
    assert ["stream" in body for body in server.chats] == [False, True]


@pytest.mark.parametrize("stated", [True, False])
async def test_nothing_is_found_out_of_what_is_stated(stated: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        async with thinking(dict(CUT), thinking_in_prompt=stated) as (server, policy):
            assert policy._thoughts.settled(ON.sampling)
            if not stated:
                assert not (await policy.respond(SHORT)).thinking
                assert "stream" in server.chats[-1]


async def test_a_longer_trial_that_fails_is_not_tried_again_and_told() -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        if body["max_tokens"] >= 2048:
            return {"error": {"message": "the engine is too slow"}, "status": 503}
        return dict(CUT)

    server = DialectServer(answer)
    await server.start()
    with pytest.warns(UserWarning, match="within 256 tokens"):
        async with OpenAIPolicy("thinker", base_url=server.base_url, backoff=0.0):
            asked = [body["max_tokens"] for body in server.chats]
    assert asked == [256, 2048]
    await server.stop()
