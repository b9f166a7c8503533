"""Settings of the strategy counselor."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from ...environments.runs.settings import EngineSettings
from ..heads.settings import ClassifierSettings
from ..rows.settings import Positive, refuse


class CounselorSettings(ClassifierSettings):
    """History to strategy (FPEMF §3.1.2, SweetieChat App. B)."""

    panel: ClassVar[str] = "Counselor"

    form: Literal["head", "labels"] = Field(
        "head",
        description="head on the last state, or labels: a language model that scores the strategies"
        " by name",
    )
    label: Literal["first", "any"] = Field(
        "first",
        description="a turn with several strategies counts as right if the first, or any, is found",
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="weigh strategies equally or, balanced, by how rare they are"
    )
    baselines: bool = Field(True, description="measure the baselines on the same turns")
    zero_shot: EngineSettings = Field(EngineSettings(), title="The zero-shot engine")
    zero_shot_turns: Positive = Field(
        200, description="number of turns that the zero-shot policy is asked"
    )
    zero_shot_concurrency: Positive = Field(8, description="zero-shot turns asked at once")

    @model_validator(mode="after")
    def _counselor_agrees(self) -> CounselorSettings:
        problems = []
        if self.form == "labels":
            if "head_learning_rate" in self.model_fields_set:
                problems.append(
                    "head_learning_rate: the labels form has no heads; learning_rate is its own"
                )
            if self.class_weights != "none":
                problems.append("class_weights: the labels form has no classes to weigh")
            if "prompt" in self.model_fields_set and self.prompt != "asked":
                problems.append(
                    "prompt: the labels form reads the counselor's whole prompt (asked)"
                )
            if self.history_window is not None:
                problems.append(
                    "history_window: the labels form reads the counselor's whole prompt"
                )
        return refuse(self, problems)
