"""Settings of direct preference optimisation (Self-Evolution §2.2, §3.2)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from ...core.claim import MAY_CHANGE
from ...core.fixed import Fixed
from ..loop.settings import AdapterLoopSettings, MergeSettings, Nll, NllSettings, RepeatedSettings
from ..preferences.settings import Count, NotNegative, PairSourceSettings, pair_conflicts
from ..rows.settings import Positive, refuse


class DpoLoopSettings(PairSourceSettings, NllSettings, MergeSettings, AdapterLoopSettings):
    """Pairs of conversations, loss, adapter and loop; defaults of Self-Evolution §3.2."""

    panel: ClassVar[str] = "DPO"
    fixed: ClassVar[Fixed] = {
        "validation": ((), "give all as data or pairs; a share of it is held out")
    }

    beta: Annotated[float, Field(gt=0)] = Field(
        0.1, description="strength of the penalty for leaving the reference"
    )
    gamma: NotNegative = Field(1.0, description="weight of the chosen replies' NLL")
    nll: Nll = Field(
        "sum",
        description="NLL of chosen replies: sum (over each reply's tokens, mean over pairs;"
        " Self-Evolution eq. 7), reply_mean (mean over each reply's tokens first) or token_mean"
        " (over a step's tokens, as TRL)",
    )
    reference_batch: Annotated[Positive, MAY_CHANGE] = Field(
        8, description="pairs in a batch of the reference model"
    )

    lora_targets: tuple[str, ...] = Field(
        ("all-linear",), description="adapted layers: attention, all-linear, or names"
    )
    epochs: Annotated[float, Field(gt=0)] = Field(2.0, description="passes over the pairs")
    learning_rate: Annotated[float, Field(gt=0)] = Field(
        5e-6, description="peak learning rate of AdamW"
    )
    batch_size: Positive = Field(4, description="pairs in a batch on each device")
    accumulation: Positive = Field(2, description="batches in one step")
    patience: Count = Field(
        3, description="validations without progress before stopping; 0 never stops early"
    )
    seed: int = Field(0, description="of sample, replies, split, order and adapter")


class DpoSettings(DpoLoopSettings, RepeatedSettings):
    """Settings of `warmline train dpo`."""

    panel: ClassVar[str] = "DPO"

    pairs: Annotated[tuple[str, ...], MAY_CHANGE] = Field(
        (), description="pairs.jsonl made before; default: made from data, in out/pairs"
    )

    @model_validator(mode="after")
    def _settings_agree(self) -> Self:
        problems = pair_conflicts(self, asking=not self.pairs)
        if self.pairs and self.data:
            problems.append("pairs and data both say what to train on; give one")
        return refuse(self, problems)
