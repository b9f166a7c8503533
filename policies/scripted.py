"""A policy that follows a script: deterministic, instant, and it remembers what it was asked."""

from __future__ import annotations

import inspect
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ..core.errors import ConfigError, PolicyError
from .base import BasePolicy, Capabilities, FinishReason, Reply, Request, Usage


class NotScripted(PolicyError):
    """Lines were given by role, and none for the role that is asked."""

    fatal = True


Answer = Callable[[Request], str | Awaitable[str]]


class ScriptedPolicy(BasePolicy):
    """Answers from lines or from a function.

    Args:
        script: a function of the request (plain or async); or lines per role; or one list of lines
            for every role. A role's n-th answer in an episode is its n-th line, from the start
            again when they are used up; so concurrent episodes get the same lines. Without a script
            each answer is a numbered placeholder.
        record: keep every request in `requests` (switch off for very large runs).
        seeker, counselor, supporter, judger: lines per role, by keyword.

    A request with `choices` for which the script has nothing is answered by a seeded choice.
    Tokens are counted as words.

    Raises:
        ConfigError: a script that is neither a function, nor lines, nor lines per role.
        NotScripted: (from `respond`) lines were given by role, but not for this one.

    Example:
        ```python
        ScriptedPolicy(lambda request: f"Seed {request.seed} speaking.")
        ```
    """

    name = "scripted"
    capabilities = Capabilities(schema=True, prefill=True)

    def __init__(
        self,
        script: Answer | Mapping[str, Sequence[str]] | Sequence[str] | None = None,
        *,
        record: bool = True,
        seeker: Sequence[str] | None = None,
        counselor: Sequence[str] | None = None,
        supporter: Sequence[str] | None = None,
        judger: Sequence[str] | None = None,
    ) -> None:
        by_role = {
            "seeker": seeker,
            "counselor": counselor,
            "supporter": supporter,
            "judger": judger,
        }
        lines = {role: given for role, given in by_role.items() if given is not None}
        if script is not None and lines:
            raise ConfigError("ScriptedPolicy takes a script or lines by role, not both")
        self._answer: Answer | None = None
        self._lines: dict[str, tuple[str, ...]] = {}
        self._any_role: tuple[str, ...] = ()
        if callable(script):
            self._answer = script
        elif isinstance(script, Mapping) or lines:
            given = script if isinstance(script, Mapping) else lines
            self._lines = {str(role): _checked(role, given[role]) for role in given}
        elif script is not None:
            self._any_role = _checked("every role", script)
        self.record = record
        self.requests: list[Request] = []

    async def respond(self, request: Request) -> Reply:
        self.check(request)
        started = time.perf_counter()
        if self.record:
            self.requests.append(request)
        if self._answer is not None:
            text = self._answer(request)
            if inspect.isawaitable(text):
                text = await text
            if not isinstance(text, str):
                raise ConfigError(
                    f"the script answered {type(text).__name__} for the {request.role}, not str"
                )
        else:
            text = self._line(request)
        if request.prefill and not text.startswith(request.prefill):
            text = f"{request.prefill} {text}"
        return Reply(
            text=text,
            finish_reason=FinishReason.CHOICE if request.choices else FinishReason.STOP,
            usage=Usage(
                sum(map(_words, [m.content for m in request.messages])), 0, len(text.split())
            ),
            latency=time.perf_counter() - started,
            policy=self.name,
        )

    def _line(self, request: Request) -> str:
        lines = self._lines.get(request.role, self._any_role)
        if request.choices and not lines:
            return random.Random(request.seed).choice(request.choices)  # noqa: S311
        turn = getattr(request.observation, "turn", None)
        if turn is None:
            turn = sum(message.role == "assistant" for message in request.messages)
        if not lines and self._lines:
            raise NotScripted(
                f"the script has no lines for the role '{request.role}';"
                f" it has: {', '.join(self._lines)}"
            )
        if not lines:
            return f"This is line {turn + 1} of the {request.role or 'script'}."
        return lines[turn % len(lines)]

    def describe(self) -> dict[str, Any]:
        if self._answer is not None:
            code = getattr(self._answer, "__qualname__", type(self._answer).__qualname__)
            return {"policy": self.name, "function": code}
        return {"policy": self.name, "lines": {r: list(v) for r, v in self._lines.items()}} | (
            {"every_role": list(self._any_role)} if self._any_role else {}
        )


@lru_cache(maxsize=4096)
def _words(text: str) -> int:
    """Words of a message; most messages are sent again with every later call."""
    return len(text.split())


def _checked(role: object, lines: Sequence[str]) -> tuple[str, ...]:
    if isinstance(lines, str) or not lines or not all(isinstance(line, str) for line in lines):
        raise ConfigError(f"the lines of {role} must be a list of at least one string")
    return tuple(lines)
