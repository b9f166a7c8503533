"""Servers that do not stream, stream without end, or stream what no file can hold."""

import asyncio
from itertools import pairwise
from typing import Any

import pytest

from warmline.core import tasks
from warmline.core.errors import BadRequest, ReplyTooLong
from warmline.policies.base import FinishReason, Message, Request, Usage
from warmline.policies.openai.replies import StreamedCompletion
from warmline.policies.text.aloud import heard

from ..chaos_server import ChaosServer, Refusal
from .asking import ASK, CHOOSE, asking, saying
from .test_dialects import refusing, told
from .test_thinking import DialectServer, thinking

pytestmark = pytest.mark.timeout(30)

CAPPED = Request(messages=ASK.messages, seed=5, max_sentences=2)


@pytest.mark.parametrize(
    ("status", "said", "fields"),
    [
        (400, "Your organization must be verified to stream this model.", {"param": "stream"}),
        (400, "Streaming is not supported for this model.", {}),
        (422, "This model does not support streaming", {}),
        (501, "stream: not implemented", {}),
    ],
)
async def test_a_server_that_does_not_stream_is_asked_for_whole_answers(
    status: int, said: str, fields: dict[str, Any]
) -> None:
    def refuse(body: dict[str, Any]) -> Refusal | None:
        return Refusal(status, said, fields) if "stream" in body else None

    async with ChaosServer(refuse=refuse) as server, asking(server, max_retries=0) as policy:
        promised = [policy.capabilities.max_sentences]
        (first, again, plain), warned = await told(policy, CAPPED, CAPPED, ASK)
        promised.append(policy.capabilities.max_sentences)
    assert promised == [True, False]
    assert first.text == again.text
    assert first.finish_reason is FinishReason.STOP
    assert (first.attempts, again.attempts) == (2, 1)
    assert first.notes == again.notes == {"openai": {"not_sent": ["stream"]}}
    assert plain.notes is None, "it was not to be streamed"
    assert "stream_options" not in server.chats[-1]
    assert len(warned) == 1
    assert "without stream" in warned[0]


async def test_a_streamed_answer_is_heard_as_it_grows() -> None:
    said = "I hear you. It is a lot. Tell me."
    told: list[str] = []
    async with ChaosServer(answer=saying(said, "Question")) as server, asking(server) as policy:
        with heard(policy, told.append):
            reply = await policy.respond(CAPPED)
    assert len(told) > 1
    assert all(later.startswith(earlier) for earlier, later in pairwise(told))
    assert said.startswith(told[-1])
    assert reply.text.startswith(told[0])


async def test_other_refusals_of_a_streamed_request_do_not_end_streaming() -> None:
    refuse = refusing(stream="messages is too short")
    async with ChaosServer(refuse=refuse) as server, asking(server) as policy:
        with pytest.raises(BadRequest, match="too short"):
            await policy.respond(CAPPED)
        assert len(server.chats) == 1


@pytest.mark.parametrize("stream", [True, False])
async def test_thinking_counts_towards_the_longest_reply(stream: bool) -> None:
    endless = {"reasoning_content": "x" * 50_000, "content": "ok"}
    server = DialectServer(lambda body: dict(endless))
    await server.start()
    async with asking(
        server,
        max_reply_chars=1000,
        stream=stream,
        max_retries=0,  # type: ignore[arg-type]
    ) as policy:
        with pytest.raises(ReplyTooLong, match="1,000 characters"):
            await policy.respond(CAPPED)
    assert server.sent < 1000, "reading stopped there"
    await server.stop()


@pytest.mark.parametrize("max_sentences", [None, 2])
async def test_half_a_character_can_be_asked_about_again(max_sentences: int | None) -> None:
    async with ChaosServer(answer=saying("I hear \ud800 you", "Reflection of Feelings")) as server:  # noqa: SIM117
        async with asking(server, choices_mode="ask", max_retries=0) as policy:
            assert (await policy.respond(CHOOSE)).text == "Reflection of Feelings"
            assert server.chats[-1]["messages"][-2]["content"] == "I hear � you"


async def test_a_character_of_two_halves_is_whole_in_the_reply() -> None:
    answer = {"content": "aaaa\ud83d\ude42.", "reasoning_content": "bbbb\ud83d\ude42 \ud83d"}
    for stream in (True, False):  # pieces are of five characters
        async with thinking(answer, stream=stream) as (_, policy):
            reply = await policy.respond(CAPPED)
        assert (reply.text, reply.thinking) == ("aaaa🙂.", "bbbb🙂 �")


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        ({"prompt_tokens_details": {"cached_tokens": -5}}, Usage(9, 0, 40)),
        ({"completion_tokens_details": {"reasoning_tokens": -1}}, Usage(9, 0, 40)),
        ({"prompt_tokens": -2}, Usage(0, 0, 40)),
        ({"prompt_tokens": True}, Usage(0, 0, 40)),
        ({"completion_tokens": -3}, None),
        ({"completion_tokens": False}, None),
    ],
)
async def test_a_number_of_tokens_that_is_none(said: dict[str, Any], counted: Usage | None) -> None:
    async with thinking(lambda body: {"content": "Hi.", "usage": said}) as (_, policy):
        assert (await policy.respond(Request((Message("user", "Hello."),)))).usage == counted


@pytest.mark.parametrize(
    ("mode", "field"), [("json_schema", "response_format"), ("structured_outputs",) * 2]
)
async def test_a_form_that_was_chosen_and_is_refused_names_the_other_ways(
    mode: Any, field: str
) -> None:
    refuse = refusing(**{field: f"{field} is not supported"})
    async with ChaosServer(refuse=refuse) as server, asking(server, choices_mode=mode) as policy:
        with pytest.raises(BadRequest, match=r"choices_mode = 'auto' or 'ask'"):
            await policy.respond(CHOOSE)
        assert field in server.chats[0]


async def test_a_stream_that_has_all_arrived_lets_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its pieces are read without waiting: 200,000 brackets kept all others for 178 ms."""
    monkeypatch.setattr(tasks, "HELD", -1.0)
    pieces = 0
    add = StreamedCompletion.add
    turns: set[int] = set()

    def counted(self: StreamedCompletion, data: object) -> None:
        nonlocal pieces
        pieces += 1
        add(self, data)

    async def others() -> None:
        while True:
            turns.add(pieces)
            await asyncio.sleep(0)

    monkeypatch.setattr(StreamedCompletion, "add", counted)
    async with thinking({"content": "((((" * 300}) as (_, policy):
        beside = asyncio.create_task(others())
        await policy.respond(CAPPED)
        beside.cancel()
    assert pieces > 200
    assert len(turns) > 0.9 * pieces, "they had their turn between any two pieces"
