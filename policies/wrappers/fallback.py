"""`fallback`: when one policy fails, the next one is asked."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from ...core.errors import AllFailed, ConfigError, ParticipantLeft, PolicyError
from ..asking import ask_policy
from ..base import (
    Capabilities,
    Policy,
    Reply,
    Request,
    TokenLogprob,
    capabilities_of,
    close_policy,
    describe_policy,
    model_folders,
    open_policy,
    policy_name,
)
from ..registry import POLICIES, make_policy
from .base import Wrapper, as_policy, scoring, with_notes

T = TypeVar("T")

Choice = str | Mapping[str, Any] | Policy


class Fallback(Wrapper):
    """Asks policies in order until one answers.

    Each request starts with the first again: nothing is learned from earlier failures. Who answered
    stands in `Reply.policy`, and why the others did not in `Reply.notes`.

    Args:
        policy: asked first.
        then: those asked next: policies, names, or mappings with `name` and the options of a policy
            (`wrap` among them); one of these, or a list.
        only_retryable: fall back only on failures after which asking again may help (a lost
            connection, say), and let the others (a refused key, a prompt that is too long) through.

    Raises:
        ConfigError: `then` is empty, or something in it is not a policy.
        AllFailed: (from `respond`) with the error of each. It is fatal if all of them were.

    A person who leaves (`ParticipantLeft`) is not replaced. A `BudgetExceeded` within one of the
    policies hands over to the next; a budget around the fallback ends the run.
    """

    kind = "fallback"

    def __init__(
        self, policy: Policy, *, then: Choice | Sequence[Choice], only_retryable: bool = False
    ) -> None:
        chosen = [then] if isinstance(then, str | Mapping | Policy) else list(then)
        if not chosen:
            raise ConfigError("wrapper 'fallback' needs at least one policy to fall back on")
        self.policies: tuple[Policy, ...] = (policy, *map(_as_policy, chosen))
        super().__init__(*self.policies)
        self.only_retryable = only_retryable

    @property
    def name(self) -> str:
        """For records, such as `fallback(openai, scripted)`."""
        return f"{self.kind}({', '.join(map(policy_name, self.policies))})"

    @property
    def model_folders(self) -> tuple[str, ...]:
        """Of all of them."""
        return tuple(folder for policy in self.policies for folder in model_folders(policy))

    @property
    def capabilities(self) -> Capabilities | None:
        """What all of them honour, so far as they say."""
        stated = [able for p in self.policies if (able := capabilities_of(p)) is not None]
        return functools.reduce(_common, stated) if stated else None

    def describe(self) -> dict[str, Any]:
        """All policies, in order."""
        return {
            "policy": self.name,
            "only_retryable": self.only_retryable,
            **{f"choice_{n}": describe_policy(p) for n, p in enumerate(self.policies, 1)},
        }

    async def open(self) -> None:
        """Open all of them; a fallback that cannot work should show before it is needed."""
        for policy in self.policies:
            await open_policy(policy)

    async def aclose(self) -> None:
        """Close all of them, also where closing one fails."""
        async with AsyncExitStack() as stack:
            for policy in self.policies:
                stack.push_async_callback(close_policy, policy)

    async def respond(self, request: Request) -> Reply:
        started = time.perf_counter()
        reply, policy, failed = await self._first(lambda policy: ask_policy(policy, request))
        reply = dataclasses.replace(
            reply,
            policy=f"{self.kind}({reply.policy or policy_name(policy)})",
            latency=time.perf_counter() - started,
            attempts=reply.attempts + len(failed),
        )
        if not failed:
            return reply
        return with_notes(reply, self.kind, {"failed": [_described(*pair) for pair in failed]})

    async def _score(self, request: Request, continuation: str) -> tuple[TokenLogprob, ...]:
        scored, _, _ = await self._first(lambda p: scoring(p).score(request, continuation))
        return scored

    async def _first(
        self, ask: Callable[[Policy], Awaitable[T]]
    ) -> tuple[T, Policy, list[tuple[Policy, PolicyError]]]:
        """The first answer, who gave it, and who failed before."""
        failed: list[tuple[Policy, PolicyError]] = []
        for policy in self.policies:
            try:
                return await ask(policy), policy, failed
            except ParticipantLeft:
                raise
            except PolicyError as failure:
                if self.only_retryable and not failure.retryable:
                    raise
                failed.append((policy, failure))
        raise _all_failed(failed)


def _as_policy(choice: Choice) -> Policy:
    if isinstance(choice, str | Mapping):
        name, options = POLICIES.parse(choice)
        return make_policy(name, **options)
    return as_policy(choice, "wrapper 'fallback'")


def _common(one: Capabilities, other: Capabilities) -> Capabilities:
    """What both honour; help for small models is on only where both are small."""
    both = {
        field.name: getattr(one, field.name) and getattr(other, field.name)
        for field in dataclasses.fields(Capabilities)
        if field.name != "sampling"
    }
    return Capabilities(**both, sampling=one.sampling & other.sampling)


def _described(policy: Policy, failure: PolicyError) -> str:
    return f"{policy_name(policy)}: {type(failure).__name__}: {failure.message}"


def _all_failed(failed: list[tuple[Policy, PolicyError]]) -> AllFailed:
    error = AllFailed(
        "every policy failed:\n" + "\n".join(f"  - {_described(*pair)}" for pair in failed)
    )
    error.retryable = any(failure.retryable for _, failure in failed)
    error.fatal = all(failure.fatal for _, failure in failed)
    error.__cause__ = failed[-1][1]
    return error
