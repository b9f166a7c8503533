"""Requests a second of the client: conversations on a server that answers at once, by 1 and 2 workers.

The server is another process of this machine that reads no more of a request than it must and sends
the same prepared answer, whole or as a stream of a chunk a word, so that what is measured is what the
framework and the `openai` library need for a request: rendering the prompt, HTTP, reading the answer,
cutting sentences, the log. The server's own CPU time is printed beside the rate, for on two cores it
takes some of what the second worker would have.

    python benchmarks/client.py [episodes [workers ...]]
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import warmline
from warmline.core.shards.driver import ShardStarted, UnitDone

EPISODES = 1_000
TURNS = 4
IN_FLIGHT = 16
ADDRESS = "WARMLINE_BENCHMARK_SERVER"
REPLY = "That sounds heavy. What was the hardest part of it for you today?"
USAGE = {"prompt_tokens": 200, "completion_tokens": 13, "total_tokens": 213}


def completion() -> bytes:
    """A whole answer."""
    message = {"role": "assistant", "content": REPLY}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    body = json.dumps({**head("chat.completion"), "choices": [choice], "usage": USAGE}).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )


def stream() -> bytes:
    """The same answer, a chunk a word."""
    events: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {"content": f"{word} "}, "finish_reason": None}]}
        for word in REPLY.split()
    ]
    events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    events.append({"choices": [], "usage": USAGE})
    texts = [json.dumps({**head("chat.completion.chunk"), **event}) for event in events]
    parts = [f"data: {text}\n\n".encode() for text in [*texts, "[DONE]"]]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    start = (
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    return start + chunks + b"0\r\n\r\n"


def head(kind: str) -> dict[str, object]:
    """What each object of an answer begins with."""
    return {"id": "x", "object": kind, "created": 0, "model": "prepared"}


class Answering(asyncio.Protocol):
    """A connection on which each request gets the prepared answer."""

    whole, streamed = completion(), stream()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.got = transport, b""

    def data_received(self, data: bytes) -> None:
        self.got += data
        while (end := self.got.find(b"\r\n\r\n")) >= 0:
            headers = self.got[:end].lower()
            _, _, length = headers.partition(b"content-length:")
            last = end + 4 + int(length.split(b"\r\n", 1)[0] or 0)
            if len(self.got) < last:
                return
            body, self.got = self.got[end + 4 : last], self.got[last:]
            asked = b'"stream":true' in body or b'"stream": true' in body
            self.transport.write(self.streamed if asked else self.whole)


def serve(pipe: Connection) -> None:
    """Answer until the pipe says so; send the address first, and the CPU seconds at each question."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Answering, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        pipe.send(f"http://127.0.0.1:{port}/v1")
        while await loop.run_in_executor(None, pipe.recv):
            pipe.send(time.process_time())

    asyncio.run(run())


def whole() -> warmline.SupportEnvironment:
    """Two speakers on the server, answers in one piece."""
    return environment(stream=False)


def streamed() -> warmline.SupportEnvironment:
    """Two speakers on the server, answers as streams."""
    return environment(stream=True)


def environment(*, stream: bool) -> warmline.SupportEnvironment:
    """Two speakers on the server."""
    policy = warmline.OpenAIPolicy("prepared", base_url=os.environ[ADDRESS], stream=stream)
    return warmline.SupportEnvironment(seeker=policy, supporter=policy, max_turns=TURNS)


class Watch:
    """The time between the last worker's start and the last episode."""

    began = ended = 0.0

    def __call__(self, event: object) -> None:
        if isinstance(event, ShardStarted):
            self.began = time.perf_counter()
        elif isinstance(event, UnitDone):
            self.ended = time.perf_counter()


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else EPISODES
    counts = tuple(map(int, sys.argv[2:])) or (1, 2)
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    os.environ[ADDRESS] = ours.recv()
    print(
        f"{count} episodes of {TURNS} requests, {IN_FLIGHT} in flight a worker, {os.cpu_count()} cores"
    )
    for make in (whole, streamed):
        first = 0.0
        for workers in counts:
            watch, cpu = Watch(), asked(ours)
            scenarios = warmline.draw_scenarios(count, seed=1)
            with tempfile.TemporaryDirectory() as folder:
                made = warmline.run_sharded(
                    make,
                    scenarios,
                    out=Path(folder) / "run",
                    workers=workers,
                    concurrency=IN_FLIGHT,
                    observe=watch,
                )
                requests = sum(len(episode.calls) for episode in made)
                assert not any(episode.error for episode in made)
            rate = requests / (watch.ended - watch.began)
            share = (asked(ours) - cpu) / (watch.ended - watch.began)
            first = first or rate
            print(
                f"answers {make.__name__}, {workers} workers: {rate:.0f} requests/s"
                f" ({rate / first:.2f} of one worker), server {share:.0%} of a core"
            )
    ours.send(False)


def asked(pipe: Connection) -> float:
    """The server's CPU seconds so far."""
    pipe.send(True)
    return float(pipe.recv())


if __name__ == "__main__":
    main()
