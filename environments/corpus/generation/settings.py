"""The settings of `warmline build`: those of a run, generation and coverage in one."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AliasChoices, Field, field_validator

from ...runs.settings import EngineSettings, RunSettings
from ...shards.settings import ShardSettings
from .coverage import Coverage
from .prompts import GenerationSettings

NOT_OURS = ("scenarios",)
"""Fields of a run's settings that a build has no use for, since it makes its own."""


class BuildSettings(RunSettings, GenerationSettings, ShardSettings):
    """Settings of one build. Policies and limits of the conversations are given as for a run."""

    panel: ClassVar[str] = "Build"

    episodes: Annotated[int, Field(ge=1)] = Field(
        60,
        validation_alias=AliasChoices("episodes", "dialogues"),  # as earlier versions stored it
        description="conversations planned",
    )
    rounds: Annotated[int, Field(ge=1)] = Field(
        2,
        description="rounds of self-iteration; each may show what earlier ones made (SweetieChat eq. 5)",
    )
    source: str | None = Field(
        None, description="folder of a corpus to take the seeds from; default: the shipped ones"
    )
    clean: bool = Field(
        True, description="tag the dialogues with the cleaning filters, and learn from clean ones"
    )
    learn_truncated: bool = Field(
        False, description="also dialogues that a limit cut short become examples"
    )
    coverage: Coverage = Coverage()
    generator: EngineSettings = EngineSettings()

    @field_validator(*NOT_OURS)
    @classmethod
    def _refuse(cls, value: Any) -> Any:
        if value is not None:
            raise ValueError(
                "a build makes its own scenarios; give `episodes` for how many, and `source` for"
                " the corpus to begin from"
            )
        return value

    def writer(self) -> EngineSettings:
        """The generator's settings; its policy is the run's unless it has one of its own."""
        own = self.generator
        if own.policy is not None:
            return own
        return own.model_copy(
            update={
                "policy": self.policy,
                "model": own.model or self.model,
                "base_url": own.base_url or self.base_url,
                "options": {**self.options, **own.options},
                "wrap": own.wrap or self.wrap,
            }
        )

    def identity(self) -> dict[str, Any]:
        """What of these settings decides the corpus, beside policies, limits and pools."""
        generation = {
            name: getattr(self, name)
            for name in GenerationSettings.model_fields
            if not name.endswith("_template")  # their content counts, not their path
        }
        return {
            **generation,
            "dialogues": self.episodes,
            "rounds": self.rounds,
            "clean": self.clean,
            "learn_truncated": self.learn_truncated,
            "problem_types": list(self.problem_types),
            "coverage": self.coverage.model_dump(),
        }
