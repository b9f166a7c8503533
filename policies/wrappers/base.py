"""What all wrappers share: name, capabilities, identity, opening, closing and scoring of the inner
policy, and the small things that several of them need."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from typing import Any, ClassVar, Self, TypeVar

from ...core.errors import ConfigError
from ..asking import ask_policy
from ..base import (
    Capabilities,
    Message,
    Policy,
    Reply,
    Request,
    Sampling,
    ScoringPolicy,
    TokenLogprob,
    Usage,
    capabilities_of,
    close_policy,
    describe_policy,
    model_folders,
    open_policy,
    policy_name,
)
from ..concurrency import conversations_held, endpoint_count, requests_at_once

T = TypeVar("T")

_COMPLETION_GUESS = 128
"""Tokens expected of an answer where the request does not bound it."""


class Wrapper:
    """A policy around a policy. Passes everything on; a subclass changes `respond`.

    ```python
    class Slow(Wrapper):
        kind = "slow"

        async def respond(self, request: Request) -> Reply:
            await asyncio.sleep(1)
            return await ask_policy(self.inner, request)
    ```

    It has `score()` where the inner policy and all others have it, and closing it closes the inner
    policy.

    Args:
        policy: the inner policy.
        others: further policies that may answer in its place.

    Raises:
        ConfigError: one of them is not a policy.
    """

    kind: ClassVar[str] = "wrapper"
    score: Callable[[Request, str], Awaitable[tuple[TokenLogprob, ...]]]

    def __init__(self, policy: Policy, *others: Policy) -> None:
        self.inner = as_policy(policy, f"wrapper '{self.kind}'")
        if all(isinstance(p, ScoringPolicy) for p in (policy, *others)):
            # On the instance: `isinstance(wrapper, ScoringPolicy)` must be false without it.
            self.score = self._score

    @property
    def name(self) -> str:
        """For records, such as `cache(openai)`."""
        return f"{self.kind}({policy_name(self.inner)})"

    @property
    def capabilities(self) -> Capabilities | None:
        """Those of the inner policy, or None where it states none; they may grow when it opens."""
        return capabilities_of(self.inner)

    @property
    def requests_at_once(self) -> int | None:
        """What the inner policy computes together, where it says so."""
        return requests_at_once(self.inner)

    @property
    def conversations_held(self) -> int | None:
        """How many conversations' prompts the inner policy's cache holds, where it says so."""
        return conversations_held(self.inner)

    @property
    def endpoint_count(self) -> int:
        """How many servers the inner policy has its answers from."""
        return endpoint_count(self.inner)

    async def respond(self, request: Request) -> Reply:
        """Answer one request; raises what the inner policy raises."""
        return await ask_policy(self.inner, request)

    async def _score(self, request: Request, continuation: str) -> tuple[TokenLogprob, ...]:
        return await scoring(self.inner).score(request, continuation)

    @property
    def model_folders(self) -> tuple[str, ...]:
        """Of the inner policy."""
        return model_folders(self.inner)

    def describe(self) -> dict[str, Any]:
        """The identity. The inner policy's alone, for wrappers that do not change answers."""
        return describe_policy(self.inner)

    async def open(self) -> None:
        """Open the inner policy."""
        await open_policy(self.inner)

    async def aclose(self) -> None:
        """Close the inner policy."""
        await close_policy(self.inner)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()


def as_policy(candidate: object, taker: str) -> Policy:
    """`candidate`, if it can be asked.

    Raises:
        ConfigError: it has no `respond`.
    """
    if not isinstance(candidate, Policy):
        raise ConfigError(
            f"{taker} takes a policy, not {type(candidate).__name__}",
            hint="a policy has an async method respond(request)",
        )
    return candidate


def scoring(policy: Policy) -> ScoringPolicy:
    """`policy`, which is known to have `score`."""
    assert isinstance(policy, ScoringPolicy)
    return policy


def honoured(sampling: Sampling, policy: Policy) -> Sampling:
    """`sampling` without what `policy` says it cannot honour; for questions that a wrapper itself
    asks."""
    able = capabilities_of(policy)
    if able is None:
        return sampling
    return Sampling(**{k: v for k, v in sampling.as_dict().items() if k in able.sampling})


def total_usage(replies: Iterable[Reply]) -> Usage | None:
    """Tokens of all replies together, or None if one of them does not say."""
    total = Usage()
    for reply in replies:
        if reply.usage is None:
            return None
        total += reply.usage
    return total


def with_notes(reply: Reply, kind: str, notes: Mapping[str, Any]) -> Reply:
    """`reply` with the notes of one more wrapper."""
    return dataclasses.replace(reply, notes={**(reply.notes or {}), kind: dict(notes)})


def estimated_prompt(messages: Iterable[Message]) -> int:
    """About how many tokens a prompt has: four bytes of UTF-8 each, and four for every message."""
    return sum(len(message.content.encode("utf-8", "replace")) // 4 + 4 for message in messages)


def estimated_completion(request: Request) -> int:
    """Maximum number of tokens of the answer, or a guess where the request does not bound it."""
    thinking = request.sampling.max_thinking_tokens or 0
    return (request.sampling.max_tokens or _COMPLETION_GUESS) + thinking


async def together(questions: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """All results in order. The first exception cancels the rest, and so does being cancelled."""
    tasks = [asyncio.create_task(question) for question in questions]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
