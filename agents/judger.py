"""The judger: reads the whole dialogue and says whether it is over (FPEMF §3.1.4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..policies.answers import match_choice
from ..policies.base import Reply, Request, Sampling
from .base import Agent, chat_messages
from .observations import Judge, JudgerObservation, Turn
from .roles import Role, Strategy

VERDICTS = ("NO", "YES")


class Judger(Agent[JudgerObservation, Judge]):
    """Ends the conversation on one of three criteria, as a constrained YES or NO.

    It reads the dialogue as chat messages, like the counselor. Template blocks: `system` and `note`
    (the question).
    """

    role = Role.JUDGER
    description_text = "Decides whether the conversation is over."
    default_template = "judger.jinja"
    default_sampling = Sampling(temperature=0.0, max_tokens=8)

    def request(
        self,
        observation: JudgerObservation,
        *,
        seed: int | None = None,
        session: str = "",
        max_sentences: int | None = None,
    ) -> Request:
        note = self.template.render("note", history=observation.history)
        return Request(
            messages=chat_messages(self.system(), observation.history, Role.SUPPORTER, note=note),
            role=self.role.value,
            sampling=self.sampling,
            seed=seed,
            choices=VERDICTS,
            session=session,
            observation=observation,
        )

    def read(self, reply: Reply) -> Judge:
        verdict = match_choice(reply.text, VERDICTS)
        return Judge(None if verdict is None else verdict == "YES")

    def system_values(self, brief: None, max_sentences: int | None) -> dict[str, Any]:
        return {}

    def observe(self, thread: Sequence[Turn], advice: Strategy | None) -> JudgerObservation:
        return JudgerObservation(
            tuple(thread), turn=sum(turn.role is Role.SUPPORTER for turn in thread) - 1
        )
