"""How long one answer keeps the event loop, and so all other conversations, from going on.

A supporter gives the answers that cost most to read (no full stops, only line breaks, only brackets,
a million different characters ...), as long as an answer may be, whole and as a stream of small
pieces of a server. Beside it a clock ticks every millisecond; what is printed is the longest time
between two ticks. The goal is 50 milliseconds.

    python benchmarks/responsiveness.py [--characters 200000] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import Pipe, Process
from multiprocessing.connection import Connection
from typing import Any

import warmline
from warmline.core.errors import UnreadableReply
from warmline.policies.base import MAX_REPLY_CHARS, Message
from warmline.policies.openai.policy import OpenAIPolicy

GOAL_MILLISECONDS = 50
PIECE = 64
"""Characters in one piece of a stream."""
KINDS: dict[str, Callable[[int], str]] = {
    "prose": lambda n: ("I hear how much this weighs on you, and I would like to know more. " * n)[
        :n
    ],
    "no full stop": lambda n: ("rain on the window and " * n)[:n],
    "lines": lambda n: "a\n" * (n // 2),
    "line breaks": lambda n: "a" + "\n" * (n - 2) + "b",
    "full stops": lambda n: ". " * (n // 2),
    "brackets": lambda n: "(" * n,
    "numbers": lambda n: "1) " * (n // 3),
    "abbreviations": lambda n: "e.g. " * (n // 5),
    "speakers": lambda n: "\nSeeker (" * (n // 9),
    "emoji": lambda n: "😢 " * (n // 2),
    "one word": lambda n: "x" * n,
    "goodbyes": lambda n: "bye, " * (n // 5),
    "JSON": lambda n: '{"a":' * (n // 5),
    "thinking": lambda n: "<think>" * (n // 7),
}
SCENARIO = warmline.Scenario(
    id="exam-1", problem_type="Academic Pressure", situation="Noor failed the entrance exam."
)


class Ticking:
    """Measures the longest time in which the loop did nothing else."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def __aenter__(self) -> Ticking:
        self._task = asyncio.create_task(self._tick())
        await asyncio.sleep(0.01)
        self.longest = 0.0
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0.01)
        self._task.cancel()

    async def _tick(self) -> None:
        before = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            self.longest = max(self.longest, now - before - 0.001)
            before = now


class Serving(BaseHTTPRequestHandler):
    """A server in OpenAI's dialect that streams `answer` in small pieces."""

    answer = ""
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if not asked.get("stream"):
            said = {"role": "assistant", "content": self.answer}
            choice = {"index": 0, "message": said, "finish_reason": "stop"}
            usage = {"prompt_tokens": 9, "completion_tokens": 9, "total_tokens": 18}
            body = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
            self._send(
                json.dumps({**body, "choices": [choice], "usage": usage}), "application/json"
            )
            return
        pieces = [self.answer[i : i + PIECE] for i in range(0, len(self.answer), PIECE)]
        lines = [self._piece({"content": piece}, None) for piece in pieces]
        self._send(
            "".join([*lines, self._piece({}, "stop"), "data: [DONE]\n\n"]), "text/event-stream"
        )

    def _piece(self, delta: dict[str, str], reason: str | None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        return f"data: {json.dumps({**chunk, 'choices': [choice]})}\n\n"

    def _send(self, text: str, kind: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # the client had read enough

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


def serve(answer: str, port: Connection) -> None:
    """Serve one answer in a process of its own, which takes nothing from the loop's thread."""
    Serving.answer = answer
    server = ThreadingHTTPServer(("127.0.0.1", 0), Serving)
    port.send(server.server_port)
    server.serve_forever()


async def whole(answer: str) -> float:
    """The longest pause, in seconds, while an answer is read that came in one piece."""
    policy = warmline.ScriptedPolicy(supporter=[answer] * 2, seeker=[answer] * 2, record=False)
    environment = warmline.SupportEnvironment(
        seeker=warmline.Seeker(policy),
        counselor=None,
        supporter=warmline.Supporter(policy),
        judger=None,
        max_turns=4,
    )
    async with Ticking() as ticking:
        await environment.run(SCENARIO, seed=7)
    return ticking.longest


async def streamed(answer: str) -> float:
    """The same where a server sends it in pieces, and the sentence cap may end it early."""
    ours, theirs = Pipe()
    server = Process(target=serve, args=(answer, theirs), daemon=True)
    server.start()
    policy = OpenAIPolicy(model="m", base_url=f"http://127.0.0.1:{ours.recv()}/v1")
    request = warmline.Request(
        messages=(Message("user", "Hello"),), role="supporter", max_sentences=3
    )
    try:
        await policy.open()
        async with Ticking() as ticking:
            with suppress(UnreadableReply):  # an answer that is all thinking
                await policy.respond(request)
    finally:
        await policy.aclose()
        server.kill()
    return ticking.longest


def main() -> None:
    """Print a line for each kind of answer."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--characters", type=int, default=MAX_REPLY_CHARS)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = {}
    asyncio.run(whole("Hello there."))  # templates and rules are compiled once
    for kind, make in KINDS.items():
        answer = make(options.characters)
        found[kind] = [round(1000 * asyncio.run(read(answer)), 1) for read in (whole, streamed)]
        if not options.json:
            print(f"{kind:16} whole {found[kind][0]:8.1f} ms   streamed {found[kind][1]:8.1f} ms")
    worst = max(max(pair) for pair in found.values())
    if options.json:
        print(json.dumps({"milliseconds": found, "worst": worst, "goal": GOAL_MILLISECONDS}))
    else:
        print(f"longest pause {worst} ms (goal: at most {GOAL_MILLISECONDS})")


if __name__ == "__main__":
    main()
