"""Settings of `warmline evolve` (Self-Evolution §2.2): those of a round's pairs and training, rounds, and gate."""

from __future__ import annotations

import shlex
from typing import Annotated, Self

from pydantic import Field, model_validator

from ...core.claim import MAY_CHANGE
from ..dpo.settings import DpoSettings
from ..loop.settings import Share
from ..rows.settings import (
    Positive,
    refuse,
)


class EvolveSettings(DpoSettings):
    """Rounds of self-evolution. `model` is M⁰, `data` the conversations that give contexts."""

    rounds: Annotated[Positive, MAY_CHANGE] = Field(
        2, description="rounds; M0 becomes M1, M1 becomes M2"
    )
    split_rounds: bool = Field(
        False,
        description="each round learns from its own part of the scenarios (Self-Evolution B.1, for the variants"
        " gold and stronger); how many rounds there are cannot change later",
    )
    held_out: tuple[str, ...] = Field(
        (), description="conversations that all models are measured on; default: a share of data"
    )
    held_out_share: Share = Field(0.1, description="share of scenarios that is held out")
    gate: bool = Field(True, description="off promotes every round, whatever it measures")
    gate_nll: Annotated[float, Field(ge=0)] = Field(
        0.05, description="most that the held-out NLL may rise over the parent's, as a share of it"
    )
    gate_accuracy: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="least reward accuracy on the round's held-back pairs"
    )
    evaluate: bool = Field(
        True, description="also `warmline evaluate` on the held-out conversations"
    )
    evaluation: str = Field(
        "", description="further options of `warmline evaluate`, as one text: '--limit 20'"
    )

    @model_validator(mode="after")
    def _rounds_agree(self) -> Self:
        problems = []
        if self.pairs:
            problems.append("pairs: a round makes its own; give data")
        if self.runs != 1:
            problems.append("runs: evolve once for each seed, into folders of their own")
        if not self.held_out and not self.held_out_share:
            problems.append("nothing is held out: give held_out, or a held_out_share above 0")
        try:
            shlex.split(self.evaluation)
        except ValueError as error:
            problems.append(f"evaluation is no command line: {error}")
        return refuse(self, problems)
