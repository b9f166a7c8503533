"""Choices and schemas through the openai policy, on servers that bind answers and that do not."""

import asyncio
import json
from typing import Any

import pytest

from warmline.core.errors import BadRequest, UnreadableReply
from warmline.policies.base import FinishReason, Request, Sampling, Usage

from ..chaos_server import ChaosServer, Refusal
from .asking import ASK, CHOOSE, SCHEMA, STRATEGIES, asking, saying

pytestmark = pytest.mark.timeout(30)


@pytest.mark.parametrize("mode", ["auto", "json_schema", "structured_outputs"])
async def test_choices_on_a_server_that_binds_answers(mode: str) -> None:
    request = Request(
        messages=ASK.messages, seed=5, choices=STRATEGIES, sampling=Sampling(max_tokens=2)
    )
    async with ChaosServer() as server, asking(server, choices_mode=mode) as policy:
        replies = [await policy.respond(request) for _ in range(3)]
    assert {reply.text for reply in replies} < set(STRATEGIES)
    assert {(reply.finish_reason, reply.attempts) for reply in replies} == {
        (FinishReason.CHOICE, 1)
    }
    sent = server.chats[0]
    assert sent["messages"][-1]["content"] == "Hello.", "the prompt is left alone"
    assert sent["max_tokens"] > len("Reflection of Feelings"), "room for the longest option"
    if mode != "structured_outputs":
        form = sent["response_format"]["json_schema"]
        assert form["strict"]
        assert form["schema"]["properties"]["choice"]["enum"] == list(STRATEGIES)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("Others", "Others"),
        ("2. reflection of feelings.", "Reflection of Feelings"),
        ("I would go with 'Question' here.", "Question"),
    ],
)
async def test_choices_by_asking(said: str, meant: str) -> None:
    server = ChaosServer(answer=saying(said))
    async with server, asking(server, choices_mode="ask") as policy:
        reply = await policy.respond(CHOOSE)
    assert (reply.text, reply.finish_reason, reply.attempts) == (meant, FinishReason.CHOICE, 1)
    asked = server.chats[0]["messages"][-1]["content"]
    assert asked.startswith("Hello.\n\n")
    assert all(option in asked for option in STRATEGIES)
    assert "response_format" not in server.chats[0]


def refuse_formats(body: dict[str, Any]) -> Refusal | None:
    return Refusal(400, "response_format is not known") if "response_format" in body else None


@pytest.mark.parametrize("refuses", [True, False], ids=["refuses", "ignores"])
async def test_auto_finds_out_that_formats_are_not_honoured(refuses: bool) -> None:
    server = ChaosServer(
        answer=saying("Question, I think."),
        refuse=refuse_formats if refuses else lambda body: None,
    )
    async with server, asking(server) as policy:
        first = await policy.respond(CHOOSE)
        second = await policy.respond(CHOOSE)
    assert (first.text, first.attempts) == ("Question", 2)
    assert (second.text, second.attempts) == ("Question", 1), "remembered"
    assert first.usage == (Usage(7, 3, 3) if refuses else Usage(14, 6, 6))


async def test_auto_is_not_misled_by_an_answer_cut_short() -> None:
    rambling = '{"choice": ' + "x " * 299
    async with ChaosServer(answer=saying(rambling, "Others")) as server, asking(server) as policy:
        request = Request(
            messages=ASK.messages, choices=STRATEGIES, sampling=Sampling(max_tokens=4)
        )
        assert (await policy.respond(request)).attempts == 2
        await policy.respond(request)
    assert ["response_format" in body for body in server.chats] == [True, False, True, False]


@pytest.mark.parametrize("mode", ["auto", "json_schema", "structured_outputs", "ask"])
async def test_reasks_are_bounded_and_seeded(mode: str) -> None:
    async with (
        ChaosServer(answer=saying("Maybe tea?")) as server,
        asking(server, choices_mode=mode, reasks=3) as policy,
    ):
        with pytest.raises(UnreadableReply, match=r"asked 4 times.*'Maybe tea\?'"):
            await policy.respond(CHOOSE)
        asked = server.chats[1:] if mode == "auto" else server.chats
    seeds = [body["seed"] for body in asked]
    assert seeds[0] == 5
    assert len(set(seeds)) == len(seeds) == 4
    if mode == "ask":
        last = [message["content"] for message in asked[1]["messages"][-2:]]
        assert last[0] == "Maybe tea?"
        assert "exactly one of these options" in last[1]


async def test_a_reask_can_help_and_its_cost_is_counted() -> None:
    server = ChaosServer(answer=saying("tea", "Others"))
    async with server, asking(server, choices_mode="ask") as policy:
        reply = await policy.respond(CHOOSE)
    assert (reply.text, reply.attempts) == ("Others", 2)
    assert reply.usage == Usage(14, 6, 2)


async def test_a_named_mode_does_not_fall_back() -> None:
    async with (
        ChaosServer(refuse=refuse_formats) as server,
        asking(server, choices_mode="json_schema") as policy,
    ):
        with pytest.raises(BadRequest, match="response_format is not known"):
            await policy.respond(CHOOSE)


async def test_schema_is_sent_and_checked() -> None:
    answers = saying('{"score": "three"}', 'Sure!\n{"score": 3}', '```json\n{"score": 3}\n```')
    request = Request(messages=ASK.messages, seed=5, schema=SCHEMA)
    async with ChaosServer(answer=answers) as server, asking(server) as policy:
        reply = await policy.respond(request)
    assert json.loads(reply.text) == {"score": 3}
    assert reply.attempts == 3
    form = server.chats[0]["response_format"]["json_schema"]
    assert form["schema"] == SCHEMA
    assert not form["strict"], "not closed: OpenAI's strict mode would refuse it"
    assert "fits this JSON schema" in server.chats[1]["messages"][-1]["content"]


async def test_schema_never_met_is_unreadable() -> None:
    request = Request(messages=ASK.messages, schema=SCHEMA)
    async with ChaosServer(answer=saying("three")) as server, asking(server, reasks=1) as policy:
        with pytest.raises(UnreadableReply, match="asked 2 times for JSON"):
            await policy.respond(request)
        assert len(server.chats) == 2


async def test_the_same_request_gives_the_same_reply_at_any_concurrency() -> None:
    requests = [Request(messages=ASK.messages, seed=n, choices=STRATEGIES) for n in range(40)]
    async with ChaosServer() as server, asking(server) as policy:
        together = await asyncio.gather(*(policy.respond(request) for request in requests))
        alone = [await policy.respond(request) for request in reversed(requests)]
    assert [reply.text for reply in together] == [reply.text for reply in reversed(alone)]
    assert len({reply.text for reply in together}) == 3
