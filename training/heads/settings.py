"""Settings of classifiers with heads: what the strategy counselor and the scorer share."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from ...core.fixed import Fixed
from ...policies.heads.reading import Reading, View
from ..loop.settings import AdapterLoopSettings, RepeatedSettings, Share, ValidationSettings
from ..rows.settings import BadRows, Positive, refuse

Count = Annotated[int, Field(ge=0)]


class ClassifierSettings(ValidationSettings, AdapterLoopSettings, RepeatedSettings):
    """Adapter, loop, and what a classifier reads; loop defaults of SFT (SweetieChat App. B)."""

    panel: ClassVar[str] = "Classifier"
    fixed: ClassVar[Fixed] = {
        "merge": (False, "heads need the language model's adapter; it is merged when it is loaded")
    }

    prompt: View = Field(
        "dialogue",
        description="what is read: dialogue (what was said) or asked (the role's whole prompt)",
    )
    history_window: Positive | None = Field(
        None, description="latest messages read; default all, so that a dialogue needs one pass"
    )
    max_tokens: Positive = Field(1024, description="maximum length of a prompt")
    test: tuple[str, ...] = Field((), description="test data; default: a share of data")
    test_share: Share = Field(0.1, description="share of scenarios kept for the final figures")
    head_learning_rate: Annotated[float, Field(gt=0)] = Field(
        1e-3, description="peak learning rate of the heads, which are randomly initialised"
    )
    on_bad_row: BadRows = Field("skip", description="skip or refuse rows that cannot be used")

    @property
    def reading(self) -> Reading:
        """How prompts are read."""
        return Reading(self.prompt, self.history_window, self.max_tokens)

    @model_validator(mode="after")
    def _classifier_agrees(self) -> ClassifierSettings:
        problems = []
        if self.prompt == "asked" and self.history_window is not None:
            problems.append("history_window is for prompt = 'dialogue'")
        return refuse(self, problems)
