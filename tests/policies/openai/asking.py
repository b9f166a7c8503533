"""What the tests of the openai policy share: requests, and a policy on a chaos server."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from warmline.policies.base import Message, Request
from warmline.policies.openai.policy import OpenAIPolicy

from ..chaos_server import ChaosServer

ASK = Request(messages=(Message("system", "You listen."), Message("user", "Hello.")), seed=5)
STRATEGIES = ("Question", "Reflection of Feelings", "Others")
CHOOSE = Request(messages=ASK.messages, seed=5, choices=STRATEGIES)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"score": {"type": "integer"}},
    "required": ["score"],
}


@asynccontextmanager
async def asking(server: ChaosServer, **options: Any) -> AsyncIterator[OpenAIPolicy]:
    """A policy on `server` that was not opened, so that the plan meets the test's own requests."""
    defaults = {"base_url": server.base_url, "backoff": 0.001}
    policy = OpenAIPolicy("tiny", **{**defaults, **options})
    try:
        yield policy
    finally:
        await policy.aclose()


def saying(*texts: str) -> Callable[[dict[str, Any]], str]:
    """An answer function that gives one text after the other, and then the last for ever."""
    left = list(texts)
    return lambda body: left.pop(0) if len(left) > 1 else left[0]
