"""The settings of `warmline judge` and `judge_run`. Light to import: the command makes its options
from them."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from ...core.settings import LIMIT
from ...core.tasks import GRACE
from ...environments.episodes.rating import RATINGS_NAME
from ...environments.runs.settings import EngineSettings
from ...environments.shards.settings import ShardSettings

COMPARISONS_NAME = "comparisons.jsonl"


class JudgeSettings(ShardSettings):
    """What a judge is asked about a run."""

    panel: ClassVar[str] = "Questions"

    judge: EngineSettings = Field(EngineSettings(), title="The judge's seat")
    rubric: str | None = Field(
        None, description="rubric by name (response, dialogue) or path; default response, or"
        " dialogue for conversations with --against"
    )  # fmt: skip
    dimensions: tuple[str, ...] = Field((), description="only these dimensions of the rubric")
    samples: Annotated[int, Field(ge=1)] = Field(1, description="answers to each question")
    limit: Annotated[int, Field(ge=1)] | None = Field(
        None,
        validation_alias=LIMIT,
        description="at most so many replies (or conversations), a seeded sample",
    )
    concurrency: Annotated[int, Field(ge=1)] = Field(
        8, description="questions asked at the same time"
    )
    grace: Annotated[float, Field(ge=0)] = Field(
        GRACE, description="seconds that open questions may take after SIGTERM or SIGHUP"
    )
    seed: int = Field(0, description="seed of the sample and of the calls")
    rater: str | None = Field(None, description="the judge's name in the ratings")
    corpus: str | None = Field(
        None, description="where RUN holds replies of `evaluate`: the corpus that was evaluated"
    )
    against: str | None = Field(
        None,
        description="another run or other replies: ask which of two conversations, or of two replies"
        " to the same history, is better, in both orders",
    )
    out: str | None = Field(
        None,
        description=f"file of ratings; default {RATINGS_NAME} (with --against:"
        f" {COMPARISONS_NAME}) beside the log",
    )
