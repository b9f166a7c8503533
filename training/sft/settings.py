"""Settings of supervised fine-tuning; figures of the papers are defaults or presets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from ...core.record import Record
from ..loop.settings import (
    AdapterLoopSettings,
    MergeSettings,
    NllSettings,
    RepeatedSettings,
    Share,
    ValidationSettings,
)
from ..rows.settings import Positive, SeatRowSettings, refuse

PRESETS: dict[str, dict[str, Any]] = {
    "support": {},
    "sweetiechat": {"strategy": "advised"},
    "m0": {
        "lora_r": 8,
        "lora_alpha": 16,
        "lora_targets": ("all-linear",),
        "learning_rate": 5e-6,
        "warmup": 0.01,
        "batch_size": 4,
        "accumulation": 2,
        "epochs": 2.0,
        "patience": 3,
        "validation_share": 0.1,
        "replay_rows": 500,
        "nll": "sum",
    },
    "embedded": {
        "data": ("seeds:train",),
        "seats": ("seeker", "supporter", "counselor=0.2", "judger=0.2"),
        "per": "tree",
        "strategy": "oracle",
        "history_window": 20,
        "lora_r": 16,
        "lora_alpha": 32.0,
        "lora_targets": ("all-linear",),
        "learning_rate": 1e-3,
        "warmup": 0.05,
        "batch_size": 1,
        "accumulation": 2,
        "epochs": 1.0,
        "max_steps": 300,
        "validation_share": 0.015,
        "evaluate_every": 100,
        "patience": 0,
    },
}
"""Settings by name: SweetieChat §5.2 (the defaults; `sweetiechat` with its counselor's advice in the
prompt too), M⁰ of Self-Evolution §2.1, and the adapter of the embedded engine, which plays all four
seats (`docs/embedded-adapter.md`)."""


class ReplaySettings(Record):
    """Instruction rows mixed in, so that general ability is kept (Self-Evolution §2.1)."""

    panel: ClassVar[str] = "Instruction rows"

    replay: str | None = Field(
        None, description="file of instruction rows (instruction, input, output)"
    )
    replay_rows: Positive | None = Field(None, description="number of instruction rows mixed in")
    replay_share: Share | None = Field(None, description="or their share of all training rows")

    @model_validator(mode="after")
    def _replay_agrees(self) -> Self:
        problems = []
        if self.replay_rows and self.replay_share:
            problems.append("replay_rows and replay_share both say how much to replay")
        if (self.replay_share or self.replay_rows) and not self.replay:
            problems.append(
                "replay needs a file of instruction rows (instruction, input and output, as Alpaca has them):"
                " give it as `replay`"
            )
        return refuse(self, problems)


class SftSettings(
    ReplaySettings,
    SeatRowSettings,
    NllSettings,
    MergeSettings,
    ValidationSettings,
    AdapterLoopSettings,
    RepeatedSettings,
):
    """Supervised fine-tuning of the supporter (SweetieChat §5.2; m0: Self-Evolution §2.1) or any seat."""

    panel: ClassVar[str] = "Data and model"

    preset: Literal["support", "sweetiechat", "m0", "embedded"] = Field(
        "support",
        description="settings of a paper: support (SweetieChat's figures), sweetiechat (its prompts too:"
        " advised) or m0 (Self-Evolution); or embedded, the adapter that this package ships",
    )

    @property
    def validation_batch(self) -> int:
        """Rows in a batch of validation; trees of whole conversations are long."""
        return self.batch_size if self.per == "tree" else super().validation_batch

    @model_validator(mode="before")
    @classmethod
    def _add_preset(cls, data: Any) -> Any:
        return with_preset(data)


def with_preset(data: Any) -> Any:
    """The settings of the named preset, overridden by those that are given."""
    if not isinstance(data, Mapping):
        return data
    return PRESETS.get(str(data.get("preset", "support")), {}) | dict(data)
