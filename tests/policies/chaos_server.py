"""A real HTTP server on the loopback device that speaks chat completions and fails as it is told to.

```python
async with ChaosServer(plan=[Fault.RATE_LIMITED, Fault.OK]) as server:
    policy = OpenAIPolicy("tiny", base_url=server.base_url)
```

The nth chat request meets the nth fault of the plan, and those after it `Fault.OK`. Everything that
arrived is kept in `requests`.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Self


class Fault(Enum):
    """What happens to one request."""

    OK = "ok"
    SLOW = "answered after `delay` seconds"
    RATE_LIMITED = "429 with Retry-After"
    BROKEN = "500"
    OVERLOADED = "503"
    BAD_REQUEST = "400"
    REFUSED_KEY = "401"
    NO_MODEL = "404"
    EMPTY = "a completion without text"
    HALF_JSON = "half a body, declared as whole"
    CUT_JSON = "half a body, then the connection ends"
    DROP_BEFORE = "connection closed before the status line"
    DROP_IN_HEADERS = "connection closed between status line and body"
    DROP_IN_STREAM = "connection closed in the middle of a stream"
    ERROR_IN_STREAM = "an error event in the middle of a stream; 500 where it is none"
    END_IN_STREAM = "stream ends in good order, without a finish reason"


TRANSIENT = tuple(
    fault
    for fault in Fault
    if fault not in (Fault.OK, Fault.BAD_REQUEST, Fault.REFUSED_KEY, Fault.NO_MODEL)
)
"""Faults after which the same request can succeed."""


def storm(seed: int, length: int, *, faulty: float, of: Sequence[Fault]) -> list[Fault]:
    """A seeded mix in which each request fails with probability `faulty`."""
    dice = random.Random(seed)
    return [dice.choice(of) if dice.random() < faulty else Fault.OK for _ in range(length)]


@dataclass(frozen=True)
class Received:
    """One request as it came over the wire; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Refusal:
    """A status and an error body, for a request that the server does not want."""

    status: int
    message: str
    fields: dict[str, Any] = field(default_factory=dict)


def conforming(body: dict[str, Any]) -> str:
    """The text of a server that honours response formats: a valid option, chosen by the seed."""
    dice = random.Random(body.get("seed", 0))
    if (options := body.get("structured_outputs", {}).get("choice")) is not None:
        return str(dice.choice(options))
    if (form := body.get("response_format")) is not None:
        schema = form["json_schema"]["schema"]
        values = {
            name: dice.choice(part["enum"]) if "enum" in part else f"some {name}"
            for name, part in schema["properties"].items()
        }
        return json.dumps(values)
    return f"You said something. I heard it, seed {body.get('seed')}. Tell me more. I have time."


class ChaosServer:
    """See the module. Deterministic: which fault a request meets depends on its number alone.

    Args:
        plan: faults of the chat requests, in the order in which they arrive.
        answer: text of the completion to a request body.
        refuse: looks at a request body first; a `Refusal` is sent instead of an answer.
        key: the only bearer key accepted, on all paths; None accepts any.
        models: names at `/v1/models`, or an HTTP status with which that path fails.
        owner: `owned_by` of the models.
        retry_after: headers of a 429.
        delay: seconds of `Fault.SLOW`.
        pace: seconds between the chunks of a stream.
        logprobs: whether log-probabilities are sent to those who ask.
        usage: whether token counts are sent at all.
        prompt_tokens, cached_tokens: what is counted of a request body.
        choice: fields of the choice that are sent beside, or instead of, the usual ones.
        port: where it listens; 0 takes any that is free. A server that was left may be entered again.
    """

    def __init__(
        self,
        plan: Iterable[Fault] = (),
        *,
        answer: Callable[[dict[str, Any]], str] = conforming,
        refuse: Callable[[dict[str, Any]], Refusal | None] = lambda body: None,
        key: str | None = None,
        models: Sequence[str] | int = ("tiny",),
        owner: str = "vllm",
        retry_after: dict[str, str] | None = None,
        delay: float = 0.05,
        pace: float = 0.0,
        logprobs: bool = True,
        usage: bool = True,
        prompt_tokens: Callable[[dict[str, Any]], int] = lambda body: 7,
        cached_tokens: Callable[[dict[str, Any]], int] = lambda body: 3,
        choice: Callable[[dict[str, Any]], dict[str, Any]] = lambda body: {},
        port: int = 0,
    ) -> None:
        self.port = port
        self._plan = iter(plan)
        self._answer, self._refuse = answer, refuse
        self._key, self._models, self._owner = key, models, owner
        self._retry_after = {"retry-after": "0"} if retry_after is None else retry_after
        self.delay, self._pace = delay, pace
        self._logprobs, self._usage = logprobs, usage
        self._prompt_tokens, self._cached_tokens = prompt_tokens, cached_tokens
        self._choice = choice
        self._connections: set[asyncio.Task[None]] = set()
        self.requests: list[Received] = []
        self.asked = asyncio.Event()
        self.connections = 0
        self.chunks_sent = 0
        self.hung_up = 0
        self.in_flight = 0
        self.most_in_flight = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def chats(self) -> list[dict[str, Any]]:
        """Bodies of all chat requests."""
        return [r.body for r in self.requests if r.path == "/v1/chat/completions"]

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of our own: one made by asyncio complains when it is cancelled.
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        self.connections += 1

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (received := await _read_request(reader)) is not None:
                self.requests.append(received)
                if not await self._respond(received, writer):
                    break
        except ConnectionError:
            self.hung_up += 1
        finally:
            writer.close()

    async def _respond(self, received: Received, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; whether the connection stays open."""
        if self._key is not None and received.headers.get("authorization") != f"Bearer {self._key}":
            said = f"Incorrect key: {received.headers.get('authorization')}"
            return await _send_json(writer, 401, _error(Refusal(401, said)))
        if received.path == "/v1/models":
            return await self._list_models(writer)
        if received.path != "/v1/chat/completions":
            return await _send_json(writer, 404, {"detail": "Not Found"})
        self.asked.set()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._chat(received.body, next(self._plan, Fault.OK), writer)
        finally:
            self.in_flight -= 1

    async def _list_models(self, writer: asyncio.StreamWriter) -> bool:
        if isinstance(self._models, int):
            refusal = Refusal(self._models, "no list here")
            return await _send_json(writer, self._models, _error(refusal))
        data = [{"id": name, "object": "model", "owned_by": self._owner} for name in self._models]
        return await _send_json(writer, 200, {"object": "list", "data": data})

    async def _chat(self, body: dict[str, Any], fault: Fault, writer: asyncio.StreamWriter) -> bool:
        if fault in _REFUSALS and not (fault is Fault.ERROR_IN_STREAM and body.get("stream")):
            refusal = _REFUSALS[fault]
            headers = self._retry_after if fault is Fault.RATE_LIMITED else {}
            return await _send_json(writer, refusal.status, _error(refusal), headers)
        if fault is Fault.DROP_BEFORE:
            return False
        if fault is Fault.DROP_IN_HEADERS:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n")
            await writer.drain()
            return False
        await asyncio.sleep(self.delay if fault is Fault.SLOW else 0)
        if (refused := self._refuse(body)) is not None:
            return await _send_json(writer, refused.status, _error(refused))
        text, ended = _within_limit(body, "" if fault is Fault.EMPTY else self._answer(body))
        if body.get("stream"):
            return await self._stream(body, text, ended, fault, writer)
        payload = json.dumps(self._completion(body, text, ended)).encode()
        if fault in (Fault.HALF_JSON, Fault.CUT_JSON, Fault.DROP_IN_STREAM, Fault.END_IN_STREAM):
            half = payload[: len(payload) // 2]
            claimed = len(half) if fault is Fault.HALF_JSON else len(payload)
            writer.write(_head(200, "application/json", claimed) + half)
            await writer.drain()
            return fault is Fault.HALF_JSON
        writer.write(_head(200, "application/json", len(payload)) + payload)
        await writer.drain()
        return True

    def _completion(self, body: dict[str, Any], text: str, ended: str) -> dict[str, Any]:
        choice: dict[str, Any] = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": ended,
        }
        if body.get("logprobs") and self._logprobs:
            choice["logprobs"] = _logprobs(text.split())
        choice |= self._choice(body)
        answer = {"id": "c", "object": "chat.completion", "model": "tiny", "choices": [choice]}
        return {**answer, "usage": self._count(text, body)} if self._usage else answer

    def _count(self, text: str, body: dict[str, Any]) -> dict[str, Any]:
        return {
            "prompt_tokens": self._prompt_tokens(body),
            "completion_tokens": len(text.split()),
            "prompt_tokens_details": {"cached_tokens": self._cached_tokens(body)},
        }

    async def _stream(
        self,
        body: dict[str, Any],
        text: str,
        ended: str,
        fault: Fault,
        writer: asyncio.StreamWriter,
    ) -> bool:
        writer.write(_head(200, "text/event-stream", None))
        options = body.get("stream_options", {})
        pieces = [f"{word} " for word in text.split()]
        broken = fault in (
            Fault.HALF_JSON, Fault.CUT_JSON, Fault.DROP_IN_STREAM, Fault.ERROR_IN_STREAM
        )  # fmt: skip
        stop_at = len(pieces) // 2 if broken or fault is Fault.END_IN_STREAM else len(pieces)
        for n, piece in enumerate(pieces[:stop_at]):
            chunk: dict[str, Any] = {"choices": [{"index": 0, "delta": {"content": piece}}]}
            if body.get("logprobs") and self._logprobs:
                chunk["choices"][0]["logprobs"] = _logprobs([piece])
            if options.get("continuous_usage_stats"):
                chunk["usage"] = self._count(" ".join(pieces[: n + 1]), body)
            await _send_event(writer, json.dumps(chunk))
            self.chunks_sent += 1
            await asyncio.sleep(self._pace)
        if fault is Fault.HALF_JSON:
            await _send_event(writer, '{"choices": [{"ind')
        if fault is Fault.ERROR_IN_STREAM:
            await _send_event(writer, json.dumps(_error(_REFUSALS[fault])))
        if broken:
            return False
        if fault is not Fault.END_IN_STREAM:
            choice = {"index": 0, "delta": {}, "finish_reason": ended, **self._choice(body)}
            last = {"choices": [choice]}
            await _send_event(writer, json.dumps(last))
            if options.get("include_usage") and self._usage:
                await _send_event(
                    writer, json.dumps({"choices": [], "usage": self._count(text, body)})
                )
            await _send_event(writer, "[DONE]")
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True


_REFUSALS = {
    Fault.RATE_LIMITED: Refusal(429, "slow down"),
    Fault.BROKEN: Refusal(500, "something broke"),
    Fault.ERROR_IN_STREAM: Refusal(500, "the engine died"),
    Fault.OVERLOADED: Refusal(503, "busy"),
    Fault.BAD_REQUEST: Refusal(400, "temperature is out of range"),
    Fault.REFUSED_KEY: Refusal(401, "no such key"),
    Fault.NO_MODEL: Refusal(404, "The model `tiny` does not exist."),
}


def _within_limit(body: dict[str, Any], text: str) -> tuple[str, str]:
    """The text cut at `max_tokens` words, and the finish reason."""
    limit = body.get("max_tokens") or body.get("max_completion_tokens")
    if limit is None or len(text.split()) <= limit:
        return text, "stop"
    return " ".join(text.split()[:limit]), "length"


def _error(refusal: Refusal) -> dict[str, Any]:
    return {"error": {"message": refusal.message, "code": refusal.status, **refusal.fields}}


def _logprobs(tokens: Iterable[str]) -> dict[str, Any]:
    return {"content": [{"token": token, "logprob": -0.5, "bytes": None} for token in tokens]}


def _head(
    status: int, kind: str, length: int | None, headers: dict[str, str] | None = None
) -> bytes:
    size = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    more = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    return f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{size}\r\n{more}\r\n".encode()


async def _send_json(
    writer: asyncio.StreamWriter,
    status: int,
    value: dict[str, Any],
    headers: dict[str, str] | None = None,
) -> bool:
    payload = json.dumps(value).encode()
    writer.write(_head(status, "application/json", len(payload), headers) + payload)
    await writer.drain()
    return True


async def _send_event(writer: asyncio.StreamWriter, data: str) -> None:
    event = f"data: {data}\n\n".encode()
    writer.write(b"%x\r\n%s\r\n" % (len(event), event))
    await writer.drain()


async def _read_request(reader: asyncio.StreamReader) -> Received | None:
    """The next request on a connection, or None once the client has closed it."""
    with suppress(asyncio.IncompleteReadError):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.split("\r\n")
        method, path, _ = first.split(" ")
        pairs = (line.split(":", 1) for line in lines if line)
        headers = {name.lower(): value.strip() for name, value in pairs}
        raw = await reader.readexactly(int(headers.get("content-length", 0)))
        return Received(method, path, headers, json.loads(raw) if raw else {})
    return None
