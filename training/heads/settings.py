"""Settings of classifiers with heads: the strategy counselor and the scorer."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ...environments.runs.settings import EngineSettings
from ...policies.heads.reading import Reading, View
from ..loop.settings import BadRows, LoopSettings, LoraSettings, Positive, Share, refuse

Count = Annotated[int, Field(ge=0)]


class ClassifierSettings(LoraSettings, LoopSettings):
    """Adapter, loop, and what a classifier reads. Its loop defaults are those of SFT (SweetieChat App. B)."""

    prompt: View = Field(
        "dialogue",
        description="what is read: dialogue (what was said) or asked (the role's whole prompt)",
    )
    history_window: Positive | None = Field(
        None, description="latest messages read; default all, which lets one pass serve a dialogue"
    )
    max_tokens: Positive = Field(1024, description="longest prompt")
    test: tuple[str, ...] = Field((), description="test data; default: a share of data")
    test_share: Share = Field(0.1, description="share of scenarios kept for the final figures")
    head_learning_rate: Annotated[float, Field(gt=0)] = Field(
        1e-3, description="of the heads, which start from nothing"
    )
    on_bad_row: BadRows = Field("skip", description="skip or refuse rows that cannot be used")

    @property
    def reading(self) -> Reading:
        """How prompts are read."""
        return Reading(self.prompt, self.history_window, self.max_tokens)

    @model_validator(mode="after")
    def _classifier_agrees(self) -> ClassifierSettings:
        problems = []
        if self.merge:
            problems.append("merge: heads lie on a model of text; they are merged when loaded")
        if self.prompt == "asked" and self.history_window is not None:
            problems.append("history_window is for prompt = 'dialogue'")
        return refuse(self, problems)


class CounselorSettings(ClassifierSettings):
    """History to strategy (FPEMF §3.1.2, SweetieChat App. B)."""

    form: Literal["head", "labels"] = Field(
        "head",
        description="head on the last state, or labels: a language model that scores the strategies"
        " by name",
    )
    label: Literal["first", "any"] = Field(
        "first",
        description="a turn with several strategies is right by its first, or by any of them",
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="weigh strategies equally or, balanced, by how rare they are"
    )
    baselines: bool = Field(True, description="measure the baselines on the same turns")
    zero_shot: EngineSettings = EngineSettings()
    zero_shot_turns: Positive = Field(200, description="turns that the zero-shot policy is asked")
    zero_shot_concurrency: Positive = Field(8, description="of them asked at once")

    @model_validator(mode="after")
    def _counselor_agrees(self) -> CounselorSettings:
        problems = []
        if self.form == "labels":
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


class ScorerSettings(ClassifierSettings):
    """Data and adapters of the four dimensions (FPEMF §4.1); sizes are the paper's."""

    history_window: Positive | None = Field(
        7, description="latest messages read, the reply among them"
    )
    empathy: str | None = Field(
        None, description="folder with the EPITOME tables (sp_id, rp_id, …, level), one a mechanism"
    )
    strategy: str | None = Field(
        None, description="table of sentences (Text) with motivational-interviewing labels"
    )
    dimensions: tuple[str, ...] = Field((), description="dimensions trained; default all with data")
    adapters: Literal["one", "each"] = Field(
        "one", description="one adapter for all dimensions, or one each"
    )
    empathy_pairs: Count = Field(3000, description="pairs of the empathy dimension, at most")
    strategy_pairs: Count = Field(17000, description="pairs of the strategy dimension, at most")
    coherent: Count = Field(4000, description="real replies in the coherence dimension, at most")
    incoherent: Count = Field(8000, description="made ones: replies swapped or altered")
    altered_share: Share = Field(0.5, description="share of made replies with altered key words")
    altered_words: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="share of a reply's key words that is altered"
    )
    on_topic: Count = Field(4000, description="real replies in the topic dimension, at most")
    off_topic: Count = Field(8000, description="replies from dialogues about another problem type")
