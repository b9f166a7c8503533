"""The strategy counselor: chooses one of the eight strategies from the dialogue (FPEMF eq. 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..policies.base import Reply, Request, Sampling
from .base import Agent, chat_messages
from .observations import Advise, CounselorObservation, Turn
from .roles import STRATEGY_LABELS, Role, Strategy, parse_strategy


class StrategyCounselor(Agent[CounselorObservation, Advise]):
    """Advises the supporter: argmax over strategies given the history, as a constrained choice.

    It reads the dialogue from the supporter's side, as chat messages: so its prompt only grows at
    the end, and the messages are the ones the other roles' prompts hold too. Template blocks:
    `system` and `note` (the question).
    """

    role = Role.COUNSELOR
    description_text = "Chooses the support strategy for the supporter's next answer."
    default_template = "counselor.jinja"
    default_sampling = Sampling(temperature=0.0, max_tokens=16)

    def request(
        self,
        observation: CounselorObservation,
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
            choices=STRATEGY_LABELS,
            session=session,
            observation=observation,
        )

    def read(self, reply: Reply) -> Advise:
        return Advise(parse_strategy(reply.text))

    def system_values(self, brief: None, max_sentences: int | None) -> dict[str, Any]:
        return {"strategies": tuple(Strategy)}

    def observe(self, thread: Sequence[Turn], advice: Strategy | None) -> CounselorObservation:
        return CounselorObservation(
            tuple(thread), turn=sum(turn.role is Role.SUPPORTER for turn in thread)
        )
