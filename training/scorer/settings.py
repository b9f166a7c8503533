"""Settings of the scorer of the four dimensions."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ..heads.settings import ClassifierSettings, Count
from ..loop.settings import Share
from ..rows.settings import Positive


class ScorerSettings(ClassifierSettings):
    """Data and adapters of the four dimensions (FPEMF §4.1); sizes are the paper's."""

    panel: ClassVar[str] = "Scorer"

    history_window: Positive | None = Field(
        7, description="latest messages read, the reply among them"
    )
    empathy: str | None = Field(
        None,
        description="folder with the EPITOME tables (sp_id, rp_id, …, level), one per mechanism",
    )
    strategy: str | None = Field(
        None, description="table of sentences (Text) with motivational-interviewing labels"
    )
    dimensions: tuple[str, ...] = Field(
        (), description="trained dimensions; default all that have data"
    )
    adapters: Literal["one", "each"] = Field(
        "one", description="one adapter for all dimensions, or one each"
    )
    empathy_pairs: Count = Field(
        3000, description="maximum number of pairs of the empathy dimension"
    )
    strategy_pairs: Count = Field(
        17000, description="maximum number of pairs of the strategy dimension"
    )
    coherent: Count = Field(
        4000, description="maximum number of real replies in the coherence dimension"
    )
    incoherent: Count = Field(
        8000, description="synthetic negatives of coherence: replies swapped or altered"
    )
    altered_share: Share = Field(
        0.5, description="share of these negatives that have altered key words"
    )
    altered_words: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="share of a reply's key words that is altered"
    )
    on_topic: Count = Field(
        4000, description="maximum number of real replies in the topic dimension"
    )
    off_topic: Count = Field(
        8000,
        description="synthetic negatives of topic: replies about another problem type",
    )
