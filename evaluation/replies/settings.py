"""The settings of an evaluation: what `warmline evaluate` and `evaluate()` take.

Light to import, since the command line makes its options from them; metrics are loaded when asked
for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from ...agents.conditions import StrategyCondition, read_condition
from ...core.errors import ConfigError
from ...core.record import Record
from ...environments.runs.decoding import DECODINGS
from ...environments.runs.settings import DEFAULT_POLICY, EngineSettings, RoleSettings
from .reply import Setting

if TYPE_CHECKING:
    from ..metrics.metric import Metric


class MetricSettings(Record):
    """What is counted, and how."""

    panel: ClassVar[str] = "Metrics and intervals"

    preset: str = Field(
        "esconv",
        description="convention: esconv, sacrebleu, sweetiechat or self-evolution (counted as esconv;"
        " replies as that paper asks for them: its decoding, strategies listed)",
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


class EvaluationSettings(MetricSettings, EngineSettings):
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
    history_window: Annotated[int, Field(ge=1)] = Field(
        6, description="latest turns shown to the supporter"
    )
    max_sentences: Annotated[int, Field(ge=1)] = Field(3, description="sentences kept of a reply")
    retry_failed: bool = Field(False, description="ask again for replies that failed")
    perplexity: bool = Field(
        False, description="also measure the perplexity of the recorded replies"
    )
    strategy: Annotated[StrategyCondition, BeforeValidator(read_condition)] | None = Field(
        None,
        description="what the prompt tells of strategies: hidden (nothing), listed (all eight),"
        " self (the model writes its choice first), advised (the counselor's choice) or oracle (the"
        " recorded reply's own label, an upper bound); default: advised with a counselor, else"
        " hidden",
    )
    definitions: bool = Field(False, description="system prompt defines the eight strategies")
    template: str | None = Field(
        None, description="prompt template: shipped name or path; default by strategy"
    )
    openings: bool = Field(False, description="pre-fill first words that fit the strategy")
    counselor: RoleSettings = RoleSettings(seated=False)

    @model_validator(mode="before")
    @classmethod
    def _add_decoding(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or data.get("preset") not in DECODINGS:
            return data
        own = {**DECODINGS[data["preset"]], "strategy": StrategyCondition.LISTED}
        return own | {k: v for k, v in data.items() if v is not None}

    @model_validator(mode="after")
    def _conditions_agree(self) -> Self:
        if self.counselor.strategy is not None:
            raise ValueError("counselor.strategy: only a supporter is told of strategies")
        if self.strategy is StrategyCondition.SELF and self.perplexity:
            raise ValueError(
                "perplexity under strategy self: recorded replies do not begin with a choice of the"
                " model; measure it under listed"
            )
        return self

    def condition(self, *, advised: bool) -> StrategyCondition:
        """What the prompt tells of strategies.

        Args:
            advised: a counselor is there.

        Raises:
            ConfigError: a counselor that is not to be asked, or none where one is needed.
        """
        found = self.strategy
        if found is None:
            return StrategyCondition.ADVISED if advised else StrategyCondition.HIDDEN
        if advised is not (found is StrategyCondition.ADVISED):
            raise ConfigError(
                f"strategy '{found}' "
                + ("leaves the counselor unasked" if advised else "needs a counselor"),
                hint="`--no-counselor.seated` leaves it out"
                if advised
                else "`--counselor.seated`, with a policy of its own or the supporter's",
            )
        return found

    def contexts(self) -> tuple[Setting, ...]:
        """The settings to run."""
        return tuple(Setting) if self.setting == "both" else (Setting(self.setting),)
