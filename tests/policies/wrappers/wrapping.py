"""What the tests of the wrappers share."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

from warmline.policies.base import (
    BasePolicy,
    Capabilities,
    Message,
    Reply,
    Request,
    Sampling,
    TokenLogprob,
    Usage,
)

ASK = Request(
    messages=(
        Message("system", "You support."),
        Message("user", "My bakery closed."),
        Message("assistant", "When did it close?"),
        Message("user", "On Monday."),
    ),
    role="supporter",
    sampling=Sampling(temperature=0.7, max_tokens=40),
    seed=5,
    max_sentences=3,
    session="e1/supporter",
)
CHOOSE = Request(messages=ASK.messages, role="judger", seed=5, choices=("YES", "NO"))


class Engine(BasePolicy):
    """Answers from a function of the request, and remembers what it was asked and how many at once.

    Args:
        answer: text, whole reply or error to raise, from the request.
        hold: requests wait here until it is set.
    """

    name = "engine"

    def __init__(
        self,
        answer: Callable[[Request], str | Reply | Exception] = lambda r: f"seed {r.seed}",
        *,
        able: Capabilities | None = None,
        hold: asyncio.Event | None = None,
        usage: Usage | None = Usage(100, 20, 10),  # noqa: B008 - frozen
        name: str = "engine",
    ) -> None:
        self._answer, self._hold, self._usage = answer, hold, usage
        self.name = name
        self.capabilities = able or Capabilities(schema=True, prefill=True)
        self.asked: list[Request] = []
        self.in_flight = self.most_in_flight = 0
        self.opened = self.closed = 0

    async def respond(self, request: Request) -> Reply:
        self.asked.append(request)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(0)
            if self._hold is not None:
                await self._hold.wait()
        finally:
            self.in_flight -= 1
        answer = self._answer(request)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, Reply):
            return answer
        return Reply(text=answer, usage=self._usage, policy=self.name)

    def describe(self) -> dict[str, Any]:
        return {"policy": self.name, "model": "m1"}

    async def open(self) -> None:
        self.opened += 1

    async def aclose(self) -> None:
        self.closed += 1


class Scoring(Engine):
    """Also scores: each word's log-probability is minus its length; deterministic."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"able": Capabilities(score=True), **options})
        self.scored: list[str] = []

    async def score(self, request: Request, continuation: str) -> tuple[TokenLogprob, ...]:
        self.scored.append(continuation)
        return tuple(TokenLogprob(w, -float(len(w))) for w in continuation.split())


class Bare:
    """The least a policy can be."""

    async def respond(self, request: Request) -> Reply:
        return Reply(text="bare")


class FakeTime:
    """A clock that only sleeping moves. Good for one sleeper at a time."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.sleeps = 0

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0
        assert math.isfinite(seconds)
        self.sleeps += 1
        await asyncio.sleep(0)
        self.now += seconds
