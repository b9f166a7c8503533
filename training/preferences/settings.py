"""Settings of preference pairs (Self-Evolution §2.2), for file, keywords and command line."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from ...core.claim import MAY_CHANGE
from ...core.fixed import Fixed, FixedFields
from ...core.settings import LIMIT
from ...core.shards.division import Part, part_conflicts
from ...environments.runs.settings import EngineSettings
from ...environments.shards.settings import ShardSettings
from ..loop.settings import SourceSettings
from ..rows.settings import Positive, TurnRowSettings, refuse
from .hygiene import FirstSpeaker, Origin

NotNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]


class PreferenceSettings(FixedFields, TurnRowSettings):
    """Which turns are answered, by whom, and what makes a pair of the answers."""

    panel: ClassVar[str] = "Pairs"
    fixed: ClassVar[Fixed] = {"per": ("turn", "a pair answers one turn, so rows are per turn")}

    variant: Origin = Field(
        "refined",
        description="chosen replies: refined by reflection, gold (what was said), or stronger (the"
        " reviser's own)",
    )
    limit: Positive | None = Field(
        None,
        validation_alias=LIMIT,
        description="at most so many turns, a seeded sample; default all",
    )
    first_speaker: FirstSpeaker = Field(
        "drop",
        description="where the supporter speaks first: drop its greeting, or rename both speakers",
    )
    greeting_first: Count = Field(
        1, description="exchanges left out at the beginning of a dialogue"
    )
    greeting_last: Count = Field(2, description="exchanges left out at its end")
    longest: Annotated[float, Field(ge=1)] | None = Field(
        2.0,
        description="maximum length of a chosen reply in words, as a multiple of the rejected and"
        " of the gold reply",
    )
    tries: Positive = Field(
        4,
        description="maximum attempts at a reflection that can be parsed: the first, and three more",
    )
    reflection_tokens: Positive = Field(512, description="maximum tokens of a reflection")
    concurrency: Annotated[Positive, MAY_CHANGE] = Field(8, description="contexts asked at once")
    seed: int = Field(0, description="of sample, replies and reflections")
    supporter: EngineSettings = EngineSettings()
    reviser: EngineSettings = EngineSettings()

    @property
    def own_reviser(self) -> bool:
        """Whether the reviser is another policy than the supporter."""
        return bool(self.reviser.policy or self.reviser.model)

    def asked(self) -> dict[str, Any]:
        """The settings that decide what policies are asked, beside the contexts."""
        names = ("variant", "max_sentences", "tries", "reflection_tokens")
        return {name: getattr(self, name) for name in names} | {
            engine: getattr(self, engine).sampling().as_dict()
            for engine in ("supporter", "reviser")
        }


class PairSourceSettings(PreferenceSettings, SourceSettings):
    """Preference pairs of conversations, and where those and the model are."""


class PairSettings(PairSourceSettings, ShardSettings):
    """Settings of `warmline pairs`: pairs without a training, all at once or in parts."""

    panel: ClassVar[str] = "Pairs"

    out: Annotated[str | None, MAY_CHANGE] = Field(
        None, description="folder of calls and pairs; the same command resumes it"
    )
    part: Part | None = Field(
        None,
        description="ask one part of the contexts only, as 3/8; jobs of all parts may run at once,"
        " and the command without a part then makes the pairs",
    )

    @model_validator(mode="after")
    def _pairs_agree(self) -> Self:
        return refuse(self, pair_conflicts(self) + part_conflicts(self.part, workers=self.sharded))


def pair_conflicts(settings: PreferenceSettings, *, asking: bool = True) -> list[str]:
    """Settings of pairs that contradict one another, one line each."""
    problems = []
    if asking and settings.variant == "stronger" and settings.reviser.policy is None:
        problems.append("variant stronger needs a reviser's policy")
    return problems
