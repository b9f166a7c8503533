"""Models that think behind a server: what they think is not what they say.

The server is a real one on the loopback device that answers in the dialect under test.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from warmline.core.errors import (
    AuthenticationFailed,
    BadRequest,
    ConfigError,
    ContentRefused,
    UnreadableReply,
    Unsupported,
)
from warmline.policies.asking import ask_policy
from warmline.policies.base import FinishReason, Message, Reply, Request, Sampling
from warmline.policies.openai.policy import OpenAIPolicy

pytestmark = pytest.mark.timeout(30)

THOUGHT = "She lost her job. She is sad. I must be kind. No advice yet."
SAID = "That sounds hard. How are you? I am here. And more. And more still."
CAPPED = "That sounds hard. How are you? I am here."
ASK = Request((Message("user", "I lost my job."),), seed=1, max_sentences=3)

Answer = Callable[[dict[str, Any]], dict[str, Any]]


class DialectServer:
    """Answers chat completions with whatever message it is given; streams it in small pieces."""

    def __init__(
        self, answer: Answer, *, owner: str = "vllm", status: int = 200, usage: bool = True
    ) -> None:
        self._answer, self._owner, self._status, self._usage = answer, owner, status, usage
        self._open: set[asyncio.Task[None]] = set()
        self.chats: list[dict[str, Any]] = []
        self.sent = 0

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.base_url = f"http://127.0.0.1:{port}/v1"

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: one made by asyncio complains when it is cancelled.
        task = asyncio.create_task(self._serve(reader, writer))
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = next(
                    (int(line.split(b":")[1]) for line in head.split(b"\r\n")
                     if line.lower().startswith(b"content-length")), 0,
                )  # fmt: skip
                body = json.loads(await reader.readexactly(length)) if length else {}
                if b"/models" in head.split(b"\r\n")[0]:
                    data = [{"id": "thinker", "owned_by": self._owner}]
                    self._whole(writer, 200, {"object": "list", "data": data})
                else:
                    self.chats.append(body)
                    await self._chat(writer, body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the policy has hung up
        finally:
            writer.close()

    async def _chat(self, writer: asyncio.StreamWriter, body: dict[str, Any]) -> None:
        answer = self._answer(body)
        if "error" in answer:
            self._whole(writer, answer.pop("status", 400), answer)
            return
        finish = answer.pop("finish_reason", "stop")
        usage = {"prompt_tokens": 9, "completion_tokens": 40, **answer.pop("usage", {})}
        if not body.get("stream"):
            choice = {"index": 0, "message": answer, "finish_reason": finish}
            said = {"choices": [choice], **({"usage": usage} if self._usage else {})}
            self._whole(writer, 200, said)
            return
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        for name, value in answer.items():
            if not isinstance(value, str):
                continue
            for start in range(0, len(value), 5):
                await self._event(writer, {"delta": {name: value[start : start + 5]}})
                self.sent += 1
                await asyncio.sleep(0)
        await self._event(writer, {"delta": {}, "finish_reason": finish})
        writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")

    async def _event(self, writer: asyncio.StreamWriter, choice: dict[str, Any]) -> None:
        event = f"data: {json.dumps({'choices': [{'index': 0, **choice}]})}\n\n".encode()
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))
        await writer.drain()

    def _whole(self, writer: asyncio.StreamWriter, status: int, value: dict[str, Any]) -> None:
        payload = json.dumps(value).encode()
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n"
        writer.write(head.encode() + b"content-length: %d\r\n\r\n" % len(payload) + payload)

    async def stop(self) -> None:
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)


@asynccontextmanager
async def thinking(
    answer: Answer | dict[str, Any], *, owner: str = "vllm", usage: bool = True, **options: Any
) -> AsyncIterator[tuple[DialectServer, OpenAIPolicy]]:
    """A server, and an open policy on it."""
    reply = answer if callable(answer) else lambda body: dict(answer)
    server = DialectServer(reply, owner=owner, usage=usage)
    await server.start()
    options = {"backoff": 0.0, "max_retries": 0, **options}
    async with OpenAIPolicy("thinker", base_url=server.base_url, **options) as policy:
        server.chats.clear()
        yield server, policy
    await server.stop()


DIALECTS: dict[str, dict[str, Any]] = {
    "think": {"content": f"<think>\n{THOUGHT}\n</think>\n\n{SAID}"},
    "bare end": {"content": f"{THOUGHT}\n</think>\n\n{SAID}"},
    "Mistral": {"content": f"[THINK]{THOUGHT}[/THINK]{SAID}"},
    "Gemma 4": {"content": f"<|channel>thought\n{THOUGHT}<channel|>{SAID}"},
    "gpt-oss": {
        "content": f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant"
        f"<|channel|>final<|message|>{SAID}"
    },
    "gpt-oss without its marks": {"content": f"analysis{THOUGHT}assistantfinal{SAID}"},
    "reasoning_content": {"reasoning_content": THOUGHT, "content": SAID},
    "reasoning": {"reasoning": THOUGHT, "content": SAID},
    "both": {"reasoning": THOUGHT, "content": f"<think></think>{SAID}"},
}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_thinking_is_told_from_the_answer(dialect: str, stream: bool) -> None:
    async with thinking(DIALECTS[dialect], stream=stream) as (server, policy):
        reply = await policy.respond(ASK)
        pieces = server.sent
    assert reply.thinking == THOUGHT
    assert SAID.startswith(reply.text.rstrip(" Andmore."))
    if not stream:
        assert reply.text == SAID
        return
    assert reply.finish_reason is FinishReason.SENTENCES, "three sentences, after the thinking"
    assert reply.text.startswith(CAPPED)
    assert len(reply.text) < len(SAID)
    assert pieces < len("".join(map(str, DIALECTS[dialect].values()))) / 5 + 1


async def test_a_message_of_parts_is_spoken_as_their_text() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]},
        {"type": "text", "text": "That sounds "},
        {"type": "text", "text": "hard."},
    ]
    async with thinking({"content": parts}) as (_, policy):
        reply = await policy.respond(Request(ASK.messages))
    assert (reply.text, reply.thinking) == ("That sounds hard.", THOUGHT)


@pytest.mark.parametrize("options", [None, ("YES", "NO")])
async def test_content_null_beside_reasoning_is_asked_again(
    options: tuple[str, ...] | None,
) -> None:
    left = [{"content": None, "reasoning_content": THOUGHT, "finish_reason": "length"}] * 2

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        if len(left) < 2 and body["max_tokens"] > 2000:
            left.clear()
        if left:
            left.pop()
            return {"content": None, "reasoning_content": THOUGHT, "finish_reason": "length"}
        if "response_format" in body:
            return {"content": '{"choice": "YES"}', "reasoning_content": THOUGHT}
        return {"content": "YES", "reasoning_content": THOUGHT}

    async with thinking(answer) as (_, policy):
        request = Request(ASK.messages, choices=options, sampling=Sampling(max_tokens=50))
        reply = await policy.respond(request)
        again = await policy.respond(request)
    assert reply.text == again.text == "YES"
    assert reply.thinking == THOUGHT
    assert again.attempts == 1, "the room that it needs is remembered"


async def test_an_answer_eaten_by_thinking_has_more_room_each_time_then_a_clear_error() -> None:
    eaten = {"content": f"<think>{THOUGHT}", "finish_reason": "length"}
    request = Request(ASK.messages, sampling=Sampling(max_tokens=50, max_thinking_tokens=100))
    async with thinking(eaten) as (server, policy):
        with pytest.raises(UnreadableReply) as caught:
            await policy.respond(request)
        asked = [body["max_tokens"] for body in server.chats]
    assert asked == [50 + 100, 50 + 400, 50 + 1600]
    assert "3 times" in str(caught.value)
    assert "1650 tokens (50 for the answer, 1600 for thinking)" in str(caught.value)
    assert "max_thinking_tokens" in str(caught.value)


async def test_an_answer_cut_short_by_thinking_has_its_whole_room_at_the_second_asking() -> None:
    """OpenAI's hidden reasoning: only its number of tokens is told."""

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        left = body["max_tokens"] - 45
        usage = {"completion_tokens": 50, "completion_tokens_details": {"reasoning_tokens": 45}}
        finish = "length" if left < 30 else "stop"
        return {"content": SAID[:left], "finish_reason": finish, "usage": usage}

    request = Request(ASK.messages, sampling=Sampling(max_tokens=50))
    server_reply: list[int] = []
    async with thinking(answer, thinking_in_prompt=False) as (server, policy):
        policy._thoughts._thinks = False  # as if it had not thought in `open()`
        reply = await policy.respond(request)
        server_reply = [body["max_tokens"] for body in server.chats]
    assert server_reply == [50, 50 + 2048]
    assert reply.text == SAID
    assert reply.thinking is None
    assert reply.usage is not None
    assert reply.usage.thinking_tokens == 90, "of both askings"


async def test_a_limit_of_thinking_needs_one_of_the_answer() -> None:
    request = Request(ASK.messages, sampling=Sampling(max_thinking_tokens=100))
    async with thinking({"content": "Hi."}) as (_, policy):
        with pytest.raises(ConfigError, match="max_thinking_tokens is set without max_tokens"):
            await policy.respond(request)


async def test_thinking_tokens_are_the_servers_number_or_a_share() -> None:
    stated = {"completion_tokens": 40, "completion_tokens_details": {"reasoning_tokens": 31}}
    said = {"content": "Fine.", "reasoning": THOUGHT}
    async with thinking({**said, "usage": stated}, stream=False) as (_, policy):
        usage = (await policy.respond(ASK)).usage
        assert usage is not None
        assert (usage.completion_tokens, usage.thinking_tokens, usage.estimated) == (40, 31, False)
    async with thinking(said, stream=False) as (_, policy):
        usage = (await policy.respond(ASK)).usage
        assert usage is not None
        assert (usage.thinking_tokens, usage.estimated) == (35, True)
    async with thinking({"content": "Fine."}, stream=False) as (_, policy):
        usage = (await policy.respond(ASK)).usage
        assert usage is not None
        assert (usage.thinking_tokens, usage.estimated) == (0, False)


CHOICE = Request(ASK.messages, seed=1, choices=("YES", "NO"), sampling=Sampling(max_tokens=8))
SCHEMA = Request(
    ASK.messages,
    schema={"type": "object", "properties": {"end": {"type": "boolean"}}, "required": ["end"]},
)


async def test_a_choice_and_json_behind_a_block() -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        form = body.get("response_format", {}).get("json_schema", {}).get("name")
        said = {"choice": '{"choice": "NO"}', "reply": '{"end": false}'}.get(form, "NO, not yet.")
        return {"content": f"<think>{THOUGHT} YES? </think>\n{said}"}

    async with thinking(answer) as (_, policy):
        assert (await policy.respond(CHOICE)).text == "NO"
        reply = await policy.respond(SCHEMA)
        assert (reply.text, reply.thinking) == ('{"end": false}', f"{THOUGHT} YES?")
    async with thinking(answer, choices_mode="ask") as (_, policy):
        reply = await policy.respond(CHOICE)
        assert (reply.text, reply.thinking) == ("NO", f"{THOUGHT} YES?")


async def test_no_form_is_laid_over_thinking_that_began_in_the_prompt() -> None:
    """vLLM without a reasoning parser binds the first token, so the model could not think."""

    def answer(body: dict[str, Any]) -> dict[str, Any]:
        wanted = str(body["messages"])
        said = '{"end": true}' if "schema" in wanted else "YES" if "options" in wanted else "OK"
        return {"content": said if "response_format" in body else f"{THOUGHT}</think>{said}"}

    async with thinking(answer) as (server, policy):
        assert (await policy.respond(CHOICE)).thinking == THOUGHT
        assert (await policy.respond(SCHEMA)).thinking == THOUGHT
        assert not any("response_format" in body for body in server.chats)


@pytest.mark.parametrize(
    ("owner", "thinking_", "sent"),
    [
        ("vllm", "off", {"chat_template_kwargs": {"enable_thinking": False, "thinking": False}}),
        ("vllm", "on", {"chat_template_kwargs": {"enable_thinking": True, "thinking": True}}),
        ("llamacpp", "low", {"reasoning_effort": "low", "chat_template_kwargs": {
            "enable_thinking": True, "thinking": True, "reasoning_effort": "low",
            "thinking_effort": "low"}}),
        ("library", "off", {"think": False, "reasoning_effort": "none"}),
        ("library", "high", {"think": "high", "reasoning_effort": "high"}),
    ],
)  # fmt: skip
async def test_the_switch_is_carried_in_the_servers_words(
    owner: str, thinking_: Any, sent: dict[str, Any]
) -> None:
    async with thinking({"content": "Fine."}, owner=owner, stream=False) as (server, policy):
        await policy.respond(Request(ASK.messages, sampling=Sampling(thinking=thinking_)))
    assert sent.items() <= server.chats[0].items()
    assert "thinking" not in server.chats[0]


async def test_the_switch_joins_the_users_own_variables() -> None:
    own = {"chat_template_kwargs": {"mood": 1}}
    async with thinking({"content": "Fine."}, extra_body=own) as (server, policy):
        await policy.respond(Request(ASK.messages, sampling=Sampling(thinking="off")))
    variables = server.chats[0]["chat_template_kwargs"]
    assert variables == {"mood": 1, "enable_thinking": False, "thinking": False}


async def test_a_switch_that_is_ignored_or_refused_is_one_clear_sentence() -> None:
    off = Request(ASK.messages, sampling=Sampling(thinking="off"))
    async with thinking({"content": f"<think>{THOUGHT}</think>Hi."}) as (_, policy):
        with pytest.raises(Unsupported, match=r"thought though thinking = 'off' was sent"):
            await policy.respond(off)

    def refuse(body: dict[str, Any]) -> dict[str, Any]:
        if "reasoning_effort" not in body:
            return {"content": "OK"}
        return {"error": {"message": "Unsupported value: 'reasoning_effort' does not support none"}}

    async with thinking(refuse, switch_form="reasoning_effort") as (_, policy):
        with pytest.raises(Unsupported, match="thinking = 'off' cannot be carried to http"):
            await policy.respond(off)


async def test_a_refusal_and_a_tool_call_keep_their_reason() -> None:
    for stream in (True, False):
        refused = {"content": None, "refusal": "I cannot talk about that."}
        async with thinking(refused, stream=stream) as (_, policy):
            with pytest.raises(ContentRefused, match=r"refused to answer: 'I cannot talk about"):
                await policy.respond(ASK)
    call = {"content": None, "tool_calls": [{"function": {"name": "search", "arguments": "{}"}}]}
    async with thinking(call, stream=False) as (_, policy):
        with pytest.raises(UnreadableReply, match=r"called a tool \(search\)"):
            await policy.respond(ASK)
    async with thinking({"content": "", "finish_reason": "length"}) as (_, policy):
        with pytest.raises(UnreadableReply, match="cut off at the limit of its length"):
            await policy.respond(ASK)


@pytest.mark.parametrize(
    "error",
    [
        {"message": "Input was flagged by moderation", "code": 403},
        {
            "message": "Forbidden",
            "code": 403,
            "metadata": {"flagged_input": "I lost", "reasons": []},
        },
        {"message": "blocked", "code": "content_policy_violation"},
    ],
)
async def test_moderated_input_is_this_requests_error_alone(error: dict[str, Any]) -> None:
    def answer(body: dict[str, Any]) -> dict[str, Any]:
        lost = "lost" in str(body["messages"])
        return {"error": error, "status": 403} if lost else {"content": "OK"}

    async with thinking(answer) as (_, policy):
        with pytest.raises(BadRequest) as caught:
            await policy.respond(ASK)
        assert not caught.value.fatal
        assert str(error["message"]) in str(caught.value)

    forbidden = {"error": {"message": "this key may not use the model"}, "status": 403}
    with pytest.raises(AuthenticationFailed):
        async with thinking(forbidden):
            pass


async def test_marks_of_control_do_not_reach_the_server() -> None:
    said = "Fine.<|im_end|><end_of_turn></s>[/INST]<file_sep>"
    async with thinking({"content": "Hi."}) as (server, policy):
        await policy.respond(Request((Message("user", said),)))
    sent = server.chats[0]["messages"][0]["content"]
    assert sent == "Fine.< |im_end|>< end_of_turn>< /s>[ /INST]< file_sep>"


async def test_any_policy_that_leaves_thinking_in_its_text_is_read() -> None:
    class Raw:
        async def respond(self, request: Request) -> Reply:
            return Reply(text=f"<think>{THOUGHT}</think>\nHi.")

    reply = await ask_policy(Raw(), ASK)
    assert (reply.text, reply.thinking) == ("Hi.", THOUGHT)
