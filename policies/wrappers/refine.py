"""`refine`: the model reflects on the person, criticises its own reply, and rewrites it.

What Self-Evolution section 2.2 does to make training data (equations 4 and 5; the first reply is
its "rejected", the rewritten one its "chosen"), done while the conversation runs. The prompt is
ours.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from enum import Enum
from typing import Any, Literal

from ...core.errors import ConfigError, ContentRefused, UnreadableReply, Unsupported
from ...core.seeds import salted_seed
from ..answers import read_json, schema_instruction
from ..asking import ask_policy
from ..base import Message, Policy, Reply, Request, Sampling, capabilities_of, policy_name
from .base import Wrapper, honoured, total_usage, with_notes

ABOUT = ("profile", "emotion", "personality", "intention")
"""What is inferred about the person (Self-Evolution appendix E.1)."""

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        **{about: {"type": "string"} for about in ABOUT},
        "score": {"type": "integer", "enum": [1, 2, 3, 4, 5]},
        "criticism": {"type": "string"},
        "reply": {"type": "string"},
    },
    "required": [*ABOUT, "score", "criticism", "reply"],
    "additionalProperties": False,
}
"""The order is the order of thought: the person first, the new reply last."""

_TASK = (
    "You review what a supporter is about to say to a person in distress. Work in this order, in few"
    " words, from the conversation alone; do not guess beyond it.\n"
    "profile: who the person is and what happened to them.\n"
    "emotion: what they feel now, and why.\n"
    "personality: how they seem to be, and so how one should talk with them.\n"
    "intention: what they want from this moment of the conversation.\n"
    "score: how well the planned reply serves this person, from 1 (not at all) to 5 (fully).\n"
    "criticism: what is weak in it, such as its tone, stock phrases, or a need it passes over.\n"
    "reply: a better version, in the supporter's voice. Say it as plainly and as briefly as the"
    " planned reply."
)

MAX_ATTEMPTS = 4
MAX_LENGTH = 2.0

Outcome = Literal["rewritten", "unreadable", "too_long", "lost_opening"]


class _NotGiven(Enum):
    """An option that is not set, where None is a value."""

    NOT_GIVEN = "not given"


_NOT_GIVEN = _NotGiven.NOT_GIVEN


class Refine(Wrapper):
    """Rewrites replies after reflection.

    The inner policy writes a first reply. It is then asked once, without the role's instructions,
    for one JSON object: what the dialogue shows of the person's profile, emotion, personality and
    intention, a score of the reply from 1 to 5, a criticism, and a rewritten reply. The rewritten
    one is returned. The first reply is kept if the JSON cannot be read after `max_attempts`, or a
    content filter refuses the reflection, if the
    rewritten one is too long, or if it loses the opening that `prefill` asks for.

    Requests of other roles, and those with `choices` or `schema`, are passed on as they are.

    Args:
        policy: the inner policy.
        roles: whose replies are rewritten.
        max_attempts: how often the JSON is asked for, each time with another seed (Self-Evolution
            appendix A: again up to three times, so four attempts).
        max_length: maximum length of the rewritten reply in characters, as a multiple of the first
            one's (Self-Evolution appendix A: two; it does not say of what). None allows any length.
        max_tokens: room for the reflection. The rest of the sampling is the request's.
        tries, longest: deprecated names of `max_attempts` and `max_length`, accepted for stored
            configurations.

    Raises:
        ConfigError: an option out of range, or given under both of its names.
        Unsupported: (from `respond`) log-probabilities of a reply that is rewritten.

    The reply has the usage and the attempts of all calls. An engine that itself gives up on
    the JSON (`UnreadableReply`) does not report what that cost; it is then not included.
    `Reply.notes["refine"]` holds the first reply, the analysis and the outcome.
    """

    kind = "refine"

    def __init__(
        self,
        policy: Policy,
        *,
        roles: str | Sequence[str] = ("supporter",),
        max_attempts: int = MAX_ATTEMPTS,
        max_length: float | None = MAX_LENGTH,
        max_tokens: int = 512,
        tries: int | _NotGiven = _NOT_GIVEN,
        longest: float | _NotGiven | None = _NOT_GIVEN,
    ) -> None:
        super().__init__(policy)
        self.roles = (roles,) if isinstance(roles, str) else tuple(roles)
        problems = []
        if not isinstance(tries, _NotGiven):
            if max_attempts != MAX_ATTEMPTS:
                problems.append("tries is the old name of max_attempts: give one of them")
            max_attempts = tries
        if not isinstance(longest, _NotGiven):
            if max_length != MAX_LENGTH:
                problems.append("longest is the old name of max_length: give one of them")
            max_length = longest
        self.max_attempts, self.max_length, self.max_tokens = max_attempts, max_length, max_tokens
        problems += [
            f"{name} must be at least {least}, not {value!r}"
            for name, value, least in (
                ("max_attempts", max_attempts, 1), ("max_length", max_length, 1),
                ("max_tokens", max_tokens, 1),
            )
            if value is not None and not value >= least
        ]  # fmt: skip
        if problems:
            raise ConfigError("wrapper 'refine' cannot be set up", problems=problems)

    def describe(self) -> dict[str, Any]:
        """The settings and the inner policy; under their old names, which stored identities
        hold."""
        return {
            "policy": self.name,
            "roles": list(self.roles),
            "tries": self.max_attempts,
            "longest": self.max_length,
            "max_tokens": self.max_tokens,
            "inner": super().describe(),
        }

    async def respond(self, request: Request) -> Reply:
        if (
            request.role not in self.roles
            or request.choices is not None
            or request.schema is not None
        ):
            return await ask_policy(self.inner, request)
        if request.logprobs:
            raise Unsupported(
                f"policy '{self.name}' cannot give log-probabilities: it rewrites its replies",
                hint="ask for none, or seat the policy without refine",
            )
        started = time.perf_counter()
        first = await ask_policy(self.inner, request)
        analysis, answers, attempts = await self._reflect(request, first)
        outcome = self._judge(request, first, analysis)
        text = first.text
        if analysis is not None and outcome == "rewritten":
            text = analysis["reply"].strip()
        calls = [first, *answers]
        reply = dataclasses.replace(
            first,
            text=text,
            usage=total_usage(calls),
            latency=time.perf_counter() - started,
            policy=f"{self.kind}({first.policy or policy_name(self.inner)})",
            attempts=first.attempts + attempts,
            cached=all(answer.cached for answer in calls),
        )
        notes = {"first": first.text, "outcome": outcome, "analysis": analysis}
        return with_notes(reply, self.kind, notes)

    async def _reflect(
        self, request: Request, first: Reply
    ) -> tuple[dict[str, Any] | None, list[Reply], int]:
        """The analysis or None, the answers read, and the requests sent."""
        answers: list[Reply] = []
        attempts = 0
        for nth in range(self.max_attempts):
            try:
                answer = await ask_policy(self.inner, self.question(request, first.text, nth))
            except UnreadableReply:
                attempts += 1
                continue
            except ContentRefused:
                return None, answers, attempts + 1
            answers.append(answer)
            attempts += answer.attempts
            if (analysis := read_analysis(answer.text)) is not None:
                return analysis, answers, attempts
        return None, answers, attempts

    def question(self, request: Request, reply: str, nth: int = 0) -> Request:
        """The request for the nth attempt at an analysis. Pure."""
        able = capabilities_of(self.inner)
        bound = able is not None and able.schema
        parts = [_TASK]
        if request.max_sentences is not None:
            parts.append(f"The new reply has at most {request.max_sentences} sentences.")
        if request.prefill:
            parts.append(f"The new reply begins with these words: {request.prefill}")
        if not bound:
            parts.append(schema_instruction(SCHEMA))
        return Request(
            messages=(
                Message("system", "\n".join(parts)),
                Message(
                    "user",
                    f"{_dialogue(request.messages)}\n\n[Planned reply]\n{reply}\n\n"
                    "Review the planned reply. Answer in JSON.",
                ),
            ),
            role=request.role,
            sampling=honoured(
                Sampling(max_tokens=self.max_tokens).over(request.sampling), self.inner
            ),
            seed=salted_seed(request.seed, "refine", nth),
            schema=SCHEMA if bound else None,
            session=f"{request.session}/refine" if request.session else "",
        )

    def _judge(self, request: Request, first: Reply, analysis: dict[str, Any] | None) -> Outcome:
        if analysis is None:
            return "unreadable"
        text = analysis["reply"].strip()
        if not text.startswith(request.prefill):
            return "lost_opening"
        if self.max_length is not None and len(text) > self.max_length * len(first.text):
            return "too_long"
        return "rewritten"


def read_analysis(text: str) -> dict[str, Any] | None:
    """The analysis in an answer: the JSON alone, in a code fence, or with words around it.

    None if it does not fit `SCHEMA` or its rewritten reply is blank.
    """
    fitting = read_json(text, SCHEMA)
    if fitting is None and "{" in text:
        fitting = read_json(text[text.index("{") : text.rfind("}") + 1], SCHEMA)
    if fitting is None or not fitting[1]["reply"].strip():
        return None
    analysis: dict[str, Any] = fitting[1]
    return analysis


def _dialogue(messages: Sequence[Message]) -> str:
    """The conversation without instructions and notes, which must not pass for the person's
    words."""
    names = {"user": "Person", "assistant": "Supporter"}
    return "\n\n".join(
        f"[{names[message.role]}]\n{message.utterance}"
        for message in messages
        if message.role in names and message.utterance
    )
