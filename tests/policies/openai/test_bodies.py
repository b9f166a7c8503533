"""What servers send with HTTP 200 besides the answer that was asked for, byte by byte."""

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from warmline.core.errors import (
    AuthenticationFailed,
    ContentRefused,
    ContextTooLong,
    EngineUnavailable,
    PolicyError,
    RateLimited,
    ReplyTooLong,
    UnreadableReply,
)
from warmline.policies.base import Request, Sampling
from warmline.policies.openai.policy import OpenAIPolicy

from ..chaos_server import ChaosServer, Refusal
from .asking import ASK, CHOOSE, SCHEMA, asking

pytestmark = pytest.mark.timeout(30)

CAPPED = dataclasses.replace(ASK, max_sentences=3)
PAGE = "<!DOCTYPE html>\n<html><head><title>Please log in</title></head><body>…</body></html>"
USAGE = {"prompt_tokens": 9, "completion_tokens": 12}
Respond = Callable[[dict[str, Any]], bytes]


@asynccontextmanager
async def sending(
    respond: Respond, **options: Any
) -> AsyncIterator[tuple[OpenAIPolicy, list[Any]]]:
    """A policy on a server that answers everything with the bytes that `respond` gives."""
    bodies: list[Any] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        size = next((w for w in head.split("\r\n") if w.startswith("content-length:")), ":0")
        body = await reader.readexactly(int(size.partition(":")[2]))
        bodies.append(json.loads(body or b"{}"))
        writer.write(respond(bodies[-1]))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        defaults = {"base_url": f"http://127.0.0.1:{port}/v1", "backoff": 0.001, "max_retries": 1}
        policy = OpenAIPolicy("tiny", **{**defaults, **options})
        yield policy, bodies
        await policy.aclose()


def body(said: object, kind: str = "application/json", status: int = 200) -> bytes:
    payload = (said if isinstance(said, str) else json.dumps(said)).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\nconnection: close\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n%s" % (len(payload), payload)


def stream(*events: object, done: bool) -> bytes:
    lines = [e if isinstance(e, str) else f"data: {json.dumps(e)}" for e in events]
    lines += ["data: [DONE]"] if done else []
    return body("".join(f"{line}\n\n" for line in lines), "text/event-stream")


def chunk(content: str | None = None, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    given = {**({"content": content} if content is not None else {}), **delta}
    return {"choices": [{"index": 0, "delta": given, "finish_reason": finish}]}


def answer(content: object, finish: str | None = "stop", **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": content, **message}
    return {"choices": [{"index": 0, "message": said, "finish_reason": finish}], "usage": USAGE}


@pytest.mark.parametrize(
    ("error", "raised", "words", "asked"),
    [
        ({"message": "Provider returned error", "code": 502}, EngineUnavailable, "Provider", 2),
        ({"message": "Rate limit exceeded", "code": 429}, RateLimited, "Rate limit", 2),
        ({"message": "slow", "type": "rate_limit_error"}, RateLimited, "slow", 2),
        ({"message": "No auth credentials found", "code": "401"}, AuthenticationFailed, "key", 1),
        ({"message": "input was flagged", "code": 403, "metadata": {"reasons": ["self-harm"]}},
         ContentRefused, "flagged", 1),
        ({"message": "maximum context length is 4096 tokens", "code": 400}, ContextTooLong,
         "4096", 1),
        ("model is loading", EngineUnavailable, "loading", 2),
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["whole", "choice", "stream"])
async def test_an_error_within_an_answer_is_that_error(
    error: Any, raised: type[PolicyError], words: str, asked: int, where: str
) -> None:
    """OpenRouter sends its errors with HTTP 200; a wrong key was asked with seven times."""

    def respond(_: Any) -> bytes:
        if where == "whole":
            return body({"error": error, "user_id": "u"})
        if where == "stream":
            return stream(": OPENROUTER PROCESSING", chunk("I h"), {"error": error}, done=True)
        choice = answer("I h", "error")["choices"][0] | {"error": error}
        return body({"choices": [choice]})

    async with sending(respond) as (policy, bodies):
        with pytest.raises(raised, match=words):
            await policy.respond(CAPPED if where == "stream" else ASK)
        assert len(bodies) == asked


async def test_a_field_refused_with_http_200_is_left_out_too() -> None:
    def respond(asked: Any) -> bytes:
        if "seed" in asked:
            return body({"error": {"message": "Unsupported parameter: 'seed'", "code": 400}})
        return body(answer("I hear you."))

    async with sending(respond) as (policy, bodies):
        with pytest.warns(UserWarning, match="without seed"):
            assert (await policy.respond(ASK)).text == "I hear you."
        assert [("seed" in asked) for asked in bodies] == [True, False]


@pytest.mark.parametrize(
    "sent",
    [
        stream(chunk("I hear. "), chunk("You."), done=True),
        stream(chunk("I hear. "), chunk("You."), {"choices": [], "usage": USAGE}, done=False),
        stream(chunk("I hear. "), chunk("You.", "stop"), done=False),
        stream(": keep-alive", chunk(""), "event: ping\ndata: {}", chunk("I hear. You.", "stop"),
               {"choices": [], "usage": USAGE}, done=True),
        body(answer("I hear. You.")),
        body(answer("I hear. You.", None)),
    ],
    ids=["[DONE]", "usage", "finish reason", "comments", "no stream", "no stream, null"],
)  # fmt: skip
async def test_an_answer_that_came_whole_is_read_though_a_stream_lacks_something(
    sent: bytes,
) -> None:
    async with sending(lambda _: sent, max_retries=0) as (policy, _):
        assert (await policy.respond(CAPPED)).text == "I hear. You."


@pytest.mark.parametrize("said", ["I hear", 'I hear "data: [DONE]"'])
async def test_a_stream_of_which_nothing_shows_the_end_broke_off(said: str) -> None:
    async with sending(lambda _: stream(chunk(said), done=False)) as (policy, bodies):
        with pytest.raises(UnreadableReply, match="broke off"):
            await policy.respond(CAPPED)
        assert len(bodies) == 2


@pytest.mark.parametrize(
    "sent",
    [
        body(json.dumps(answer("I hear.")), "text/plain"),
        stream(": processing", chunk("I "), chunk("hear.", "stop"), done=True),
    ],
    ids=["plain text", "a stream"],
)
async def test_an_answer_that_is_not_called_json(sent: bytes) -> None:
    async with sending(lambda _: sent, max_retries=0) as (policy, _):
        assert (await policy.respond(ASK)).text == "I hear."


async def test_a_stream_that_was_not_asked_for_is_bounded() -> None:
    endless = stream(*(chunk("x" * 10_000) for _ in range(300)), done=True)
    async with sending(lambda _: endless, max_reply_chars=1000) as (policy, _):
        with pytest.raises(ReplyTooLong, match="1,000"):
            await policy.respond(ASK)


@pytest.mark.parametrize("request_", [ASK, CAPPED], ids=["whole", "streamed"])
async def test_a_web_page_is_named_as_one(request_: Request) -> None:
    async with sending(lambda _: body(PAGE, "text/html")) as (policy, _):
        with pytest.raises(
            EngineUnavailable, match=r"/v1 answered with a web page \('Please log in'"
        ):
            await policy.respond(request_)


async def test_a_web_page_in_the_place_of_a_server_ends_the_opening_at_once() -> None:
    """A base_url without /v1 began a run in which every episode failed."""
    async with sending(lambda _: body(PAGE, "text/html"), max_retries=6) as (policy, bodies):
        with pytest.raises(EngineUnavailable, match="web page"):
            await policy.open()
        assert len(bodies) == 1


@pytest.mark.parametrize("status", [403, 502])
async def test_of_a_page_with_an_error_only_the_title_is_told(status: int) -> None:
    async with sending(lambda _: body(PAGE, "text/html", status), max_retries=0) as (policy, _):
        with pytest.raises(
            PolicyError, match=rf"{status}: a web page \('Please log in'\)"
        ) as found:
            await policy.respond(ASK)
        assert "OPENAI_API_KEY" not in str(found.value), "it is not about the key"


@pytest.mark.parametrize("finish", ["content_filter: PROHIBITED_CONTENT", "SAFETY", "BLOCKLIST"])
async def test_filters_in_googles_words(finish: str) -> None:
    async with sending(lambda _: body(answer(None, finish))) as (policy, _):
        with pytest.raises(ContentRefused):
            await policy.respond(ASK)


async def test_a_filtered_prompt_of_which_azure_sends_no_choice() -> None:
    found = {"self_harm": {"filtered": True, "severity": "high"}, "hate": {"filtered": False}}
    said = {"choices": [], "prompt_filter_results": [{"content_filter_results": found}]}
    async with sending(lambda _: body(said)) as (policy, _):
        with pytest.raises(ContentRefused, match=r"refused the prompt \(self_harm\)"):
            await policy.respond(ASK)


async def test_thinking_that_ends_without_an_answer_is_named() -> None:
    silent = answer("", reasoning="She is sad.")
    async with sending(lambda _: body(silent)) as (policy, _):
        with pytest.raises(UnreadableReply, match="after 11 characters of thinking"):
            await policy.respond(ASK)


@pytest.mark.parametrize(
    ("message", "thinking"),
    [
        ({"reasoning_details": [{"type": "reasoning.summary", "summary": "She is sad."},
                                {"type": "reasoning.encrypted", "data": "x"}]}, "She is sad."),
        ({"reasoning": "She is sad.",
          "reasoning_details": [{"type": "reasoning.text", "text": "She is sad."}]}, "She is sad."),
        ({"content": "<think>She is sad.</think>I hear.", "reasoning_content": "She is sad."},
         "She is sad."),
    ],
)  # fmt: skip
async def test_thinking_in_several_places_is_kept_once(message: Any, thinking: str) -> None:
    said = answer("I hear.")
    said["choices"][0]["message"] |= message
    async with sending(lambda _: body(said)) as (policy, _):
        reply = await policy.respond(ASK)
        assert (reply.text, reply.thinking) == ("I hear.", thinking)


async def test_a_refusal_for_lack_of_room_is_asked_again_with_more() -> None:
    """OpenAI refuses a request with HTTP 400 if its model thought all of it away."""
    said = "Could not finish the message because max_tokens or model output limit was reached."
    asked = dataclasses.replace(ASK, sampling=Sampling(max_tokens=100))

    def refuse(given: dict[str, Any]) -> Refusal | None:
        return Refusal(400, said) if given["max_tokens"] <= refused_up_to else None

    refused_up_to = 2000
    async with ChaosServer(refuse=refuse) as server, asking(server) as policy:
        assert (await policy.respond(asked)).text
        assert [given["max_tokens"] for given in server.chats] == [100, 2148]
    refused_up_to = 10**6
    async with ChaosServer(refuse=refuse) as server, asking(server) as policy:
        with pytest.raises(UnreadableReply, match="nothing was left for the answer, 3 times"):
            await policy.respond(asked)


@pytest.mark.parametrize("request_", [ASK, CHOOSE], ids=["text", "choice"])
async def test_a_switch_is_sent_as_openai_has_it_where_template_variables_are_refused(
    request_: Request,
) -> None:
    """GPT-5 behind Azure's address."""

    def refuse(given: dict[str, Any]) -> Refusal | None:
        if "chat_template_kwargs" in given:
            return Refusal(400, "Unknown parameter: 'chat_template_kwargs'.")
        return None

    asked = dataclasses.replace(request_, sampling=Sampling(thinking="low"))
    async with ChaosServer(refuse=refuse) as server, asking(server) as policy:
        await policy.respond(asked)
        await policy.respond(asked)
        assert [given.get("reasoning_effort") for given in server.chats] == ["low"] * 3
        assert [("chat_template_kwargs" in given) for given in server.chats] == [True, False, False]
        if request_ is CHOOSE:
            assert all("response_format" in given for given in server.chats)


async def test_where_thinking_cannot_be_switched_off_the_least_is_named() -> None:
    said = "Unsupported value: 'reasoning_effort' does not support 'none'. Supported: 'minimal', 'low'."
    refusal = Refusal(400, said, {"param": "reasoning_effort"})
    asked = dataclasses.replace(ASK, sampling=Sampling(thinking="off"))
    async with (
        ChaosServer(refuse=lambda _: refusal) as server,
        asking(server, switch_form="reasoning_effort") as policy,
    ):
        with pytest.raises(PolicyError, match='reasoning_effort = "minimal"'):
            await policy.respond(asked)


@pytest.mark.parametrize(
    ("said", "fields"),
    [
        ("messages[0].role: unknown variant `system`, expected `user` or `assistant`", {}),
        ("role 'system' is not allowed", {}),
        ("Invalid value: 'system'. Supported values are: 'user' and 'assistant'.", {}),
        ("'messages.0.role' : must be either 'user' or 'assistant'", {}),
        ("This value is not taken here.", {"param": "messages[0].role"}),
    ],
)
async def test_more_ways_to_refuse_a_system_message(said: str, fields: dict[str, Any]) -> None:
    def refuse(given: dict[str, Any]) -> Refusal | None:
        return Refusal(400, said, fields) if given["messages"][0]["role"] == "system" else None

    async with ChaosServer(refuse=refuse) as server, asking(server) as policy:
        with pytest.warns(UserWarning, match="first user message"):
            reply = await policy.respond(ASK)
        assert reply.notes == {"openai": {"folded": ["system"]}}


@pytest.mark.parametrize(
    ("said", "fields"),
    [
        ("Failed to generate JSON. Please adjust your prompt.", {"code": "json_validate_failed"}),
        ("Failed to initialize samplers: failed to parse grammar", {}),
    ],
)
async def test_a_form_that_the_server_cannot_fill_is_asked_for_in_words(
    said: str, fields: dict[str, Any]
) -> None:
    def respond(given: Any) -> bytes:
        if "response_format" in given and len(bodies) > 1:
            return body({"error": {"message": said, **fields}}, status=400)
        bound = "response_format" in given
        return body(answer('{"choice": "Question"}' if bound else "Question"))

    async with sending(respond) as (policy, bodies):
        assert (await policy.respond(CHOOSE)).text == "Question"
        assert (await policy.respond(CHOOSE)).text == "Question", "a later answer failed"
        assert [("response_format" in given) for given in bodies] == [True, True, False]
    fill = dataclasses.replace(ASK, schema=SCHEMA)
    refuse = lambda given: Refusal(400, said, fields) if "response_format" in given else None  # noqa: E731
    async with (
        ChaosServer(refuse=refuse, answer=lambda _: '{"score": 3}') as server,
        asking(server) as policy,
    ):
        assert (await policy.respond(fill)).text == '{"score": 3}'
