"""How `best_of` decides which of several replies is best.

Three ways: another policy grades each reply by a rubric; a model says how likely it finds each; a
function gives any number. A grade that cannot be read is missing, never 0.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from ...core.seeds import salted_seed
from ..answers import read_json
from ..asking import ask_policy, ask_score
from ..base import (
    Message,
    Policy,
    Reply,
    Request,
    Sampling,
    ScoringPolicy,
    capabilities_of,
    describe_policy,
)
from .base import honoured

Ranking = Literal["rubric", "likelihood"]
Score = Callable[[Request, Reply], float | Awaitable[float | None] | None]

GRADES = ("1", "2", "3", "4", "5")
RUBRIC = (
    "1: hurtful, off the point, or out of role. 2: stock phrases that would fit any conversation."
    " 3: kind and on the point, but shallow. 4: shows that it took in what this person said, and"
    " helps. 5: also names what matters most to this person now, in plain and natural words."
)
GRADE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"score": {"type": "integer", "enum": [1, 2, 3, 4, 5]}},
    "required": ["score"],
    "additionalProperties": False,
}
_ANSWER_TOKENS = 64
_ALONE = re.compile(r"\W*([1-5])\W*")


@dataclass(frozen=True, slots=True)
class Grade:
    """A scorer's grade of one reply.

    Attributes:
        value: higher is better; None where it could not be read.
        reply: the scorer's own reply, where it gave one.
    """

    value: float | None
    reply: Reply | None = None


@runtime_checkable
class Scorer(Protocol):
    """Grades one reply to one request."""

    async def grade(self, request: Request, reply: Reply) -> Grade: ...

    def describe(self) -> dict[str, Any]: ...


class ByFunction:
    """Grades by a function of request and reply, plain or async; None and NaN are missing."""

    def __init__(self, function: Score) -> None:
        self._function = function

    async def grade(self, request: Request, reply: Reply) -> Grade:
        value = self._function(request, reply)
        found = await value if inspect.isawaitable(value) else value
        return Grade(None if found is None or math.isnan(found) else found)

    def describe(self) -> dict[str, Any]:
        function = self._function
        name = getattr(function, "__qualname__", type(function).__qualname__)
        return {"function": f"{function.__module__}:{name}"}


class ByLikelihood:
    """Grades by the mean log-probability (nats a token) that a policy gives to the reply.

    The prefill of the request is given, not scored. A reply without tokens has no grade.
    """

    def __init__(self, policy: ScoringPolicy) -> None:
        self._policy = policy

    async def grade(self, request: Request, reply: Reply) -> Grade:
        text = reply.text.removeprefix(request.prefill)
        scored = await ask_score(self._policy, request, text)
        if not scored:
            return Grade(None)
        return Grade(sum(token.logprob for token in scored) / len(scored))

    def describe(self) -> dict[str, Any]:
        return {"ranking": "likelihood", **describe_policy(self._policy)}


class ByRubric:
    """Asks a policy for a grade from 1 to 5, as one of five choices where it can be bound to them,
    else as JSON, else in words.

    Args:
        policy: the judge.
        rubric: what the grades mean.
    """

    def __init__(self, policy: Policy, rubric: str = RUBRIC) -> None:
        self._policy, self._rubric = policy, rubric

    async def grade(self, request: Request, reply: Reply) -> Grade:
        answer = await ask_policy(self._policy, self.question(request, reply))
        return Grade(read_grade(answer.text), answer)

    def question(self, request: Request, reply: Reply) -> Request:
        """What the judge is asked. Pure."""
        able = capabilities_of(self._policy)
        choices = GRADES if able is None or able.choices else None
        schema = GRADE_SCHEMA if choices is None and able is not None and able.schema else None
        form = (
            'Answer with JSON such as {"score": 3}.'
            if schema
            else "Answer with one number from 1 to 5."
        )
        return Request(
            messages=(
                Message("system", f"You grade replies in a conversation. {self._rubric} {form}"),
                Message(
                    "user",
                    f"{as_transcript(request.messages)}\n\n[The reply to grade]\n{reply.text}\n\n"
                    f"How good is this reply? {form}",
                ),
            ),
            role="scorer",
            sampling=honoured(
                Sampling(temperature=0.0, max_tokens=_ANSWER_TOKENS), self._policy
            ),
            seed=salted_seed(request.seed, "scorer", 0),
            choices=choices,
            schema=schema,
        )  # fmt: skip

    def describe(self) -> dict[str, Any]:
        return {"ranking": "rubric", "rubric": self._rubric, **describe_policy(self._policy)}


_SPEAKERS = {"system": "Instructions", "user": "Other", "assistant": "Speaker"}


def as_transcript(messages: tuple[Message, ...]) -> str:
    """A prompt as text for a judge: who replies is `Speaker`, who is replied to is `Other`."""
    return "\n\n".join(f"[{_SPEAKERS[message.role]}]\n{message.content}" for message in messages)


def read_grade(text: str) -> float | None:
    """The grade in a judge's answer: JSON with `score`, or a number from 1 to 5 alone."""
    if (fitting := read_json(text, GRADE_SCHEMA)) is not None:
        return float(fitting[1]["score"])
    found = _ALONE.fullmatch(text)
    return float(found.group(1)) if found else None
