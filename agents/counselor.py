"""The strategy counselor: chooses one of the eight strategies from the dialogue (000 eq. 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..policies.base import Message, Reply, Request, Sampling
from .base import Agent, transcript
from .observations import Advise, CounselorObservation, Turn
from .roles import STRATEGY_LABELS, Role, Strategy, parse_strategy


class StrategyCounselor(Agent[CounselorObservation, Advise]):
    """Advises the supporter: argmax over strategies given the history, as a constrained choice.

    Template blocks: `system`, `user`.
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
        user = self.template.render(
            "user",
            history=observation.history,
            transcript=transcript(observation.history),
            strategies=tuple(Strategy),
        )
        return Request(
            messages=(self.system(), Message("user", user)),
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
