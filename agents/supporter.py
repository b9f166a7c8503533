"""The supporter: answers the seeker, guided by a strategy and by case dialogues (FPEMF eq. 5)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..policies.base import Policy, Reply, Request, Sampling
from .base import Agent, chat_messages, starts_with_own
from .observations import Say, SupporterBrief, SupporterObservation, Turn
from .roles import Role, Strategy
from .speech import read_speech

OPENINGS: dict[Strategy, tuple[str, ...]] = {
    Strategy.QUESTION: ("What", "How did you", "When did", "Can you tell me"),
    Strategy.RESTATEMENT: ("So you", "If I follow you,", "You are saying that"),
    Strategy.REFLECTION: ("You feel", "That seems to leave you", "I sense that you"),
    Strategy.SELF_DISCLOSURE: ("I once", "When I was in a similar place, I", "I know that from"),
    Strategy.AFFIRMATION: ("You have already", "It takes courage to", "I can see how much you"),
    Strategy.SUGGESTION: ("You could", "One small thing you might try is", "What if you"),
    Strategy.INFORMATION: ("Many people", "It is quite common that", "Often it helps to know that"),
    Strategy.OTHERS: ("Thank you for", "I am here, and", "I am glad you"),
}
"""First words that fit each strategy; pre-filled, they make a small model follow it."""


class Supporter(Agent[SupporterObservation, Say]):
    """Gives support. Template blocks: `system`, `opening`, `note`.

    Args:
        policy: decides the words.
        brief: what it knows before the conversation when it sits in an AutoGen team; in an
            environment the scenario's problem type and the case dialogues give it.
        openings: pre-fill the first words of an answer to fit the strategy.
        name, template, sampling: see `Agent`.
    """

    role = Role.SUPPORTER
    description_text = "A trained listener who gives emotional support."
    default_template = "supporter.jinja"
    default_sampling = Sampling(temperature=0.7, top_p=0.9, max_tokens=120)

    def __init__(
        self,
        policy: Policy,
        *,
        name: str | None = None,
        template: str | Path | None = None,
        sampling: Sampling | None = None,
        brief: SupporterBrief | None = None,
        openings: bool = False,
    ) -> None:
        super().__init__(policy, name=name, template=template, sampling=sampling)
        self.brief = brief
        self.openings = openings

    def request(
        self,
        observation: SupporterObservation,
        *,
        seed: int | None = None,
        session: str = "",
        max_sentences: int | None = None,
    ) -> Request:
        strategy = observation.strategy
        values = {
            "problem_type": observation.brief.problem_type,
            "history": observation.history,
            "strategy": strategy.value if strategy else "",
            "definition": strategy.definition if strategy else "",
        }
        return Request(
            messages=chat_messages(
                self.system(observation.brief, max_sentences),
                observation.history,
                self.role,
                opening=self.template.render("opening", **values)
                if starts_with_own(observation.history, self.role)
                else "",
                note=self.template.render("note", **values),
            ),
            role=self.role.value,
            sampling=self.sampling,
            seed=seed,
            max_sentences=max_sentences,
            prefill=self._opening(strategy, seed),
            session=session,
            observation=observation,
        )

    def read(self, reply: Reply) -> Say:
        return read_speech(reply.text, self.role)

    def system_values(self, brief: SupporterBrief, max_sentences: int | None) -> dict[str, Any]:
        return {
            "problem_type": brief.problem_type,
            "cases": brief.cases,
            "strategies": tuple(Strategy),
            "max_sentences": max_sentences or 3,
        }

    def observe(self, thread: Sequence[Turn], advice: Strategy | None) -> SupporterObservation:
        brief = self.brief or SupporterBrief("not stated")
        return SupporterObservation(
            brief, tuple(thread), advice, turn=sum(turn.role is self.role for turn in thread)
        )

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"openings": self.openings}

    def _opening(self, strategy: Strategy | None, seed: int | None) -> str:
        if not self.openings or strategy is None:
            return ""
        return random.Random(seed).choice(OPENINGS[strategy])  # noqa: S311 - not cryptography
