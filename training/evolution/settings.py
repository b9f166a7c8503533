"""Settings of `warmline evolve` (Self-Evolution §2.2): pairs, training, rounds and gate."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, field_validator, model_validator

from ...core.claim import MAY_CHANGE
from ...core.errors import ConfigError
from ...core.fixed import Fixed
from ..dpo.settings import DpoLoopSettings
from ..loop.settings import RepeatedSettings, Share
from ..preferences.settings import pair_conflicts
from ..rows.settings import Positive, refuse
from .evaluation import as_text, evaluation_options


class EvolveSettings(DpoLoopSettings, RepeatedSettings):
    """Rounds of self-evolution. `model` is M⁰, `data` the conversations that give contexts."""

    panel: ClassVar[str] = "Rounds"
    fixed: ClassVar[Fixed] = {
        "pairs": ((), "a round makes its own pairs; give data"),
    }

    runs: Annotated[Positive, MAY_CHANGE] = Field(
        1,
        description="evolve this many times, with seeds one apart, each in a folder of its own; where"
        " model holds an M0 for each seed (train sft --runs), from that",
    )
    rounds: Annotated[Positive, MAY_CHANGE] = Field(
        2, description="number of rounds; M0 becomes M1, M1 becomes M2"
    )
    split_rounds: bool = Field(
        False,
        description="each round uses its own part of the scenarios (Self-Evolution B.1, for the"
        " variants gold and stronger); the number of rounds cannot be changed later",
    )
    held_out: tuple[str, ...] = Field(
        (), description="conversations that all models are measured on; default: a share of data"
    )
    held_out_share: Share = Field(0.1, description="share of scenarios that is held out")
    gate: bool = Field(True, description="off promotes every round, whatever it measures")
    gate_nll: Annotated[float, Field(ge=0)] = Field(
        0.05,
        description="maximum rise of the held-out NLL, as a share of the parent's",
    )
    gate_accuracy: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5, description="minimum reward accuracy on the round's validation pairs"
    )
    evaluate: bool = Field(True, description="also evaluate replies on the held-out conversations")
    evaluation: str | dict[str, Any] = Field(
        "",
        description="settings of `warmline evaluate`: a table in the TOML file, or its options as"
        " one text: '--limit 20'",
    )

    @field_validator("evaluation")
    @classmethod
    def _write_as_text(cls, value: str | dict[str, Any]) -> str | dict[str, Any]:
        """One form for both, since it is part of what identifies an evolution."""
        try:
            if not isinstance(value, str):
                return as_text(value) or value
            evaluation_options(value)
        except ConfigError as error:
            raise ValueError(str(error)) from None
        return value

    @model_validator(mode="after")
    def _rounds_agree(self) -> Self:
        problems = pair_conflicts(self)
        if not self.held_out and not self.held_out_share:
            problems.append("nothing is held out: give held_out, or a held_out_share above 0")
        return refuse(self, problems)
