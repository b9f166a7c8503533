"""Settings of the scorer of the four dimensions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..heads.settings import ClassifierSettings, Count
from ..loop.settings import Share
from ..rows.settings import Positive


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
