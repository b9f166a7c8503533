"""The settings of an evaluation: what `warmline evaluate` and `evaluate()` take.

Light to import, since the command line makes its options from them; metrics are loaded when asked
for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from ...agents.conditions import StrategyCondition, read_condition
from ...core.record import Record
from ...environments.runs.decoding import DECODINGS
from ...environments.runs.settings import DEFAULT_POLICY, EngineSettings, RoleSettings
from ...environments.shards.settings import ShardSettings
from .reply import Setting

if TYPE_CHECKING:
    from ..metrics.metric import Metric


class MetricSettings(Record):
    """What is counted, and how."""

    panel: ClassVar[str] = "Metrics and intervals"

    preset: str = Field(
        "esconv",
        description="convention: esconv, sacrebleu, sweetiechat, or self-evolution and fpemf (counted"
        " as esconv; replies as these papers ask for them: decoding, and strategies listed in"
        " self-evolution)",
    )
    tokenizer: str | None = Field(None, description="a model's tokenizer, for sweetiechat")
    metrics: tuple[str | dict[str, Any], ...] = Field(
        (), description="further metrics, by name or import string"
    )
    wordnet: str | None = Field(None, description="WordNet folder: adds METEOR with synonyms")
    bertscore: str | None = Field(None, description="encoder folder or name: adds BERTScore")
    bertscore_layer: int | None = Field(
        None, description="layer of that encoder, if the library does not know it"
    )
    interval: Literal["percentile", "bca"] = Field(
        "percentile", description="bootstrap: percentile or bca"
    )
    resamples: Annotated[int, Field(ge=0)] = Field(
        1000, description="bootstrap draws of whole dialogues; 0 for no intervals"
    )
    published: tuple[str, ...] = Field(
        (), description="published systems to show, as 'FPEMF Table 3: BBJ'"
    )
    seed: int = Field(0, description="seed of replies and intervals")

    def further(self) -> list[Metric]:
        """The metrics asked for besides those of the preset."""
        from ..metrics.bertscore import BertScore
        from ..metrics.meteor import Meteor
        from ..metrics.metric import make_metric

        chosen: list[Metric] = [make_metric(spec) for spec in self.metrics]
        if self.wordnet is not None:
            chosen.append(Meteor(self.wordnet))
        if self.bertscore is not None:
            chosen.append(BertScore(self.bertscore, layer=self.bertscore_layer))
        return chosen

    def drawing(self) -> dict[str, Any]:
        """How intervals are drawn."""
        return {"method": self.interval, "resamples": self.resamples, "seed": self.seed}


class EvaluationSettings(MetricSettings, EngineSettings, ShardSettings):
    """Settings of an evaluation over a corpus. The engine is the supporter's."""

    panel: ClassVar[str] = "Evaluation"

    policy: str = Field(DEFAULT_POLICY, description="policy by name or import string")
    setting: Literal["reference", "generated", "both"] = Field(
        "reference", description="history before a reply: reference (human), generated, or both"
    )
    out: str | None = Field(None, description="folder; the same command again resumes it")
    limit: Annotated[int, Field(ge=1)] | None = Field(
        None, description="how many conversations at most"
    )
    concurrency: Annotated[int, Field(ge=1)] = Field(
        8, description="questions asked at the same time"
    )
    history_window: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="latest turns shown to the supporter; default: as a checkpoint was trained, or 6,"
        " or 2 with short",
    )
    max_sentences: Annotated[int, Field(ge=1)] = Field(3, description="sentences kept of a reply")
    retry_failed: bool = Field(False, description="ask again for replies that failed")
    perplexity: bool = Field(
        False, description="also measure the perplexity of the recorded replies"
    )
    ratings: tuple[str, ...] = Field(
        (),
        description="files of ratings (ratings.jsonl of a study or a judge) of these conversations or"
        " replies: their means beside the scores",
    )
    strategy: Annotated[StrategyCondition, BeforeValidator(read_condition)] | None = Field(
        None,
        description="what the prompt tells of strategies: hidden (nothing), listed (all eight),"
        " self (the model writes its choice first), advised (the counselor's choice) or oracle (the"
        " recorded reply's own label, an upper bound); default: advised with a counselor, else as a"
        " checkpoint was trained, else hidden",
    )
    definitions: bool | None = Field(
        None,
        description="system prompt defines the eight strategies; default: as a checkpoint was trained",
    )
    short: bool | None = Field(
        None,
        description="system prompt of about 55 tokens, for models of 128 to 512 positions; default:"
        " as a checkpoint was trained",
    )
    template: str | None = Field(
        None,
        description="prompt template: shipped name or path; default: as a checkpoint was trained, or"
        " by strategy",
    )
    openings: bool = Field(False, description="pre-fill first words that fit the strategy")
    counselor: RoleSettings = RoleSettings(seated=False)

    @model_validator(mode="before")
    @classmethod
    def _add_decoding(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or data.get("preset") not in DECODINGS:
            return data
        own: dict[str, Any] = dict(DECODINGS[data["preset"]])
        if data["preset"] == "self-evolution":  # eq. 1 and 3
            own["strategy"] = StrategyCondition.LISTED
        return own | {k: v for k, v in data.items() if v is not None}

    @model_validator(mode="after")
    def _conditions_agree(self) -> Self:
        if self.counselor.strategy is not None:
            raise ValueError("counselor.strategy: only a supporter is told of strategies")
        if self.sharded and self.out is None:
            raise ValueError("workers: they need a folder to write to; give out")
        if self.short and (self.definitions or self.template):
            name = "definitions" if self.definitions else "template"
            raise ValueError(f"short leaves no room for {name}; give one of them")
        return self

    def contexts(self) -> tuple[Setting, ...]:
        """The settings to run."""
        return tuple(Setting) if self.setting == "both" else (Setting(self.setting),)
