"""A second opinion on crisis language: any policy, asked for yes or no, beside the rules."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...core.errors import ConfigError, EngineTimeout, PolicyError, UnreadableReply
from ..asking import ask_policy
from ..base import Message, Policy, Request, capabilities_of, describe_policy
from ..registry import make_policy

CHECK_SECONDS = 20.0
"""Longest wait for an answer: a person sits before the screen."""

QUESTION = (
    "Somebody typed the message below. Answer YES if it suggests that anyone may be at risk of"
    " suicide, self-harm, overdose, abuse or violence, now or soon, also if it is said indirectly."
    " Answer NO otherwise. If in doubt, answer YES."
)
NO, YES = "NO", "YES"


@dataclass(frozen=True, slots=True)
class CheckAnswer:
    """What the policy said; `crisis` is None where it did not answer, and `error` says why."""

    crisis: bool | None
    error: str = ""
    tokens: int | None = None

    def notes(self) -> dict[str, Any]:
        """As plain data for a record."""
        if self.crisis is None:
            return {"failed": self.error}
        return {"answer": YES if self.crisis else NO, "tokens": self.tokens}


class CrisisCheck:
    """Asks a policy whether a text is about a crisis.

    Args:
        policy: what is asked; it must answer by constrained choice.
        seconds: longest wait.

    Raises:
        ConfigError: it is not a policy, or cannot choose.
    """

    def __init__(self, policy: Policy, *, seconds: float = CHECK_SECONDS) -> None:
        able = capabilities_of(policy)
        if not isinstance(policy, Policy) or (able is not None and not able.choices):
            raise ConfigError(
                "the crisis check needs a policy that answers by choice,"
                f" not {type(policy).__name__}",
                hint="`warmline doctor` lists what each policy can do",
            )
        self.policy = policy
        self.seconds = seconds
        self.failed = 0

    @classmethod
    def made(cls, chosen: CrisisCheck | Policy | Mapping[str, Any]) -> CrisisCheck:
        """From a policy, or from settings such as `{policy = "openai", model = "..."}`.

        Raises:
            ConfigError: settings without a policy, or see `make_policy`.
        """
        if isinstance(chosen, CrisisCheck):
            return chosen
        if not isinstance(chosen, Mapping):
            return cls(chosen)
        options = {str(key): value for key, value in chosen.items()}
        seconds = float(options.pop("seconds", CHECK_SECONDS))
        policy = options.pop("policy", None)
        if isinstance(policy, str):
            policy = make_policy(policy, **options)
        elif policy is None or options:
            raise ConfigError(
                f"crisis settings need 'policy' by name, and then its options: {dict(chosen)!r}",
                hint='such as crisis = {policy = "openai", model = "..."}',
            )
        return cls(policy, seconds=seconds)

    async def ask(self, text: str, *, session: str = "") -> CheckAnswer:
        """Whether `text` is about a crisis. A failure of the policy is an answer too, and counted."""
        request = Request(
            (Message("system", QUESTION), Message("user", text)),
            role="crisis_check",
            choices=(NO, YES),
            session=f"{session}/crisis_check" if session else "",
        )
        try:
            reply = await asyncio.wait_for(ask_policy(self.policy, request), self.seconds)
            if reply.text not in (NO, YES):
                raise UnreadableReply(f"the crisis check was answered with {reply.text!r}")
        except TimeoutError:
            late = EngineTimeout(f"no answer within {self.seconds:g} s")
            return self._failure(late)
        except PolicyError as error:
            return self._failure(error)
        tokens = reply.usage.total_tokens if reply.usage else None
        return CheckAnswer(reply.text == YES, tokens=tokens)

    def describe(self) -> dict[str, Any]:
        """Its identity, as plain data."""
        return {**describe_policy(self.policy), "seconds": self.seconds}

    def _failure(self, error: PolicyError) -> CheckAnswer:
        self.failed += 1
        return CheckAnswer(None, error=f"{type(error).__name__}: {error.message}")
