"""Settings of paired self-play, as TOML, keywords or command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Self

from pydantic import Field, model_validator

from ...environments.runs.settings import EngineSettings, RoleSettings, RunSettings
from ...environments.shards.settings import ShardSettings

SIDES = ("a", "b")


class SelfPlaySettings(RunSettings, ShardSettings):
    """Settings of a paired comparison: those of a run, with two supporters and a judge."""

    panel: ClassVar[str] = "Comparison"
    supporters: ClassVar[tuple[str, ...]] = SIDES

    seeds: Annotated[tuple[int, ...], Field(min_length=1)] = Field(
        (0,), description="each plays all scenarios once more; the first draws the scenarios"
    )
    a: RoleSettings = Field(RoleSettings(), title="Supporter A")
    b: RoleSettings = Field(RoleSettings(), title="Supporter B")
    judge: EngineSettings = Field(EngineSettings(), title="The judge")
    rubric: str = Field("dialogue", description="rubric by name (dialogue, response) or path")
    samples: Annotated[int, Field(ge=1)] = Field(
        1, description="answers of the judge to each question"
    )
    pairwise: bool = Field(False, description="also ask which of two conversations is better")

    @model_validator(mode="after")
    def _sides(self) -> Self:
        if self.supporter != RoleSettings():
            raise ValueError("the supporters are a and b; leave supporter out")
        if self.seed != 0:
            raise ValueError("give seeds, not seed")
        if self.out is None:
            raise ValueError("out is needed: the folder for both runs and the result")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError("a seed occurs twice")
        return self

    def of(self, side: str, seed: int) -> RunSettings:
        """The settings of one side's run with one seed."""
        given = {name: getattr(self, name) for name in RunSettings.model_fields}
        given |= {"supporter": getattr(self, side), "seed": seed}
        return RunSettings.model_construct(**{**given, "out": str(self.folder(side, seed))})

    def folder(self, side: str, seed: int) -> Path:
        """The folder of that run."""
        return Path(self.out or "") / side / f"seed-{seed}"
