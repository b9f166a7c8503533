"""The seeker: a person with a problem, played from a scenario and a profile (FPEMF §3.1.1)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..policies.base import Policy, Reply, Request, Sampling
from .base import Agent, chat_messages, starts_with_own
from .observations import Say, SeekerBrief, SeekerObservation, Turn
from .roles import Role, Strategy
from .speech import read_speech

FIRST_OPENINGS = ("I", "Lately I", "So I", "It's", "I don't know where to start, but", "My")
"""Beginnings of the seeker's first utterance, for models that slip into the supporter's role."""

LATER_OPENINGS = ("I", "I feel", "Maybe I", "It's just that", "I guess I", "Yes, but I", "I keep")
"""Beginnings of its later utterances."""


class Seeker(Agent[SeekerObservation, Say]):
    """Plays the person. Template blocks: `system`, `opening`, `note`.

    Args:
        policy: decides the words.
        brief: what it knows of itself when it sits in an AutoGen team; in an environment the
            scenario gives it.
        openings: pre-fill the utterance's first words (small models flip roles without).
        name, template, sampling: see `Agent`.
    """

    role = Role.SEEKER
    description_text = "A person who seeks emotional support."
    default_template = "seeker.jinja"
    default_sampling = Sampling(temperature=0.8, top_p=0.9, max_tokens=120)

    def __init__(
        self,
        policy: Policy,
        *,
        name: str | None = None,
        template: str | Path | None = None,
        sampling: Sampling | None = None,
        brief: SeekerBrief | None = None,
        openings: bool = False,
    ) -> None:
        super().__init__(policy, name=name, template=template, sampling=sampling)
        self.brief = brief
        self.openings = openings

    def request(
        self,
        observation: SeekerObservation,
        *,
        seed: int | None = None,
        session: str = "",
        max_sentences: int | None = None,
    ) -> Request:
        values = {
            "problem_type": observation.brief.problem_type,
            "situation": observation.brief.situation,
            "profile": observation.brief.profile,
            "history": observation.history,
            "first": observation.turn == 0,
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
            prefill=self._opening(observation, seed),
            session=session,
            observation=observation,
        )

    def read(self, reply: Reply) -> Say:
        return read_speech(reply.text, self.role)

    def system_values(self, brief: SeekerBrief, max_sentences: int | None) -> dict[str, Any]:
        return {
            "problem_type": brief.problem_type,
            "situation": brief.situation,
            "profile": brief.profile,
            "max_sentences": max_sentences or 3,
        }

    def observe(self, thread: Sequence[Turn], advice: Strategy | None) -> SeekerObservation:
        brief = self.brief or SeekerBrief("", "You had a hard week.", "")
        return SeekerObservation(
            brief, tuple(thread), turn=sum(turn.role is self.role for turn in thread)
        )

    def describe(self) -> dict[str, Any]:
        return super().describe() | {"openings": self.openings}

    def _opening(self, observation: SeekerObservation, seed: int | None) -> str:
        if not self.openings:
            return ""
        openings = FIRST_OPENINGS if observation.turn == 0 else LATER_OPENINGS
        return random.Random(seed).choice(openings)  # noqa: S311 - not cryptography
