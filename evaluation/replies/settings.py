"""The settings of an evaluation: what `warmline evaluate` and `evaluate()` take.

Light to import, since the command line makes its options from them; metrics are loaded when asked
for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ...core.record import Record
from ...environments.runs.settings import DEFAULT_POLICY, EngineSettings, RoleSettings
from .reply import Setting

if TYPE_CHECKING:
    from ..metrics.metric import Metric


class MetricSettings(Record):
    """What is counted, and how."""

    panel: ClassVar[str] = "Metrics and intervals"

    preset: str = Field("esconv", description="convention: esconv, sacrebleu or sweetiechat")
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
    template: str | None = Field(None, description="prompt template: shipped name or path")
    openings: bool = Field(False, description="pre-fill first words that fit the strategy")
    counselor: RoleSettings = RoleSettings(seated=False)

    def contexts(self) -> tuple[Setting, ...]:
        """The settings to run."""
        return tuple(Setting) if self.setting == "both" else (Setting(self.setting),)
