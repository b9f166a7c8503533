"""Settings of FPEMF (FPEMF §4.2): candidates, feedback and loss; defaults of the paper."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field, model_validator

from ...core.fixed import Fixed
from ...core.record import Record
from ...core.settings import LIMIT
from ...core.shards.division import Part, part_conflicts
from ...environments.runs.decoding import DECODINGS
from ...environments.runs.settings import EngineSettings
from ...environments.shards.settings import ShardSettings
from ..loop.settings import (
    AdapterLoopSettings,
    MergeSettings,
    Nll,
    NllSettings,
    RepeatedSettings,
    SourceSettings,
)
from ..rows.settings import Positive, TurnRowSettings, refuse

NotNegative = Annotated[float, Field(ge=0)]


class CandidateSettings(Record):
    """Where the candidates come from."""

    panel: ClassVar[str] = "Candidates"

    preset: Literal["fpemf"] | None = Field(
        None,
        description="decoding as in the code of FPEMF's predecessor: samples at temperature 0.7,"
        " top-p 0.9; beams of at least 10 tokens, no 3-gram twice",
    )

    candidates: str | None = Field(
        None, description="candidates.jsonl made before; default: made in out/candidates"
    )
    source: Literal["beams", "sampling"] = Field(
        "beams",
        description="of candidates: beams of the model, or sampling of the sampler's policy",
    )
    limit: Positive | None = Field(
        None,
        validation_alias=LIMIT,
        description="at most so many contexts, a seeded sample; default all",
    )
    num_candidates: Positive = Field(10, description="candidates for each context, K")
    num_groups: Positive | None = Field(None, description="groups of beams; default K")
    diversity_penalty: NotNegative = Field(1.0, description="of diverse beam search, nats")
    max_new_tokens: Positive = Field(40, description="maximum tokens of a candidate")
    min_new_tokens: Annotated[int, Field(ge=0)] = Field(
        1, description="minimum tokens before the end token"
    )
    no_repeat_ngram_size: Annotated[int, Field(ge=0)] = Field(
        0, description="no n-gram of this size occurs twice; 0 turns this rule off"
    )
    search_batch: Positive = Field(8, description="contexts searched at once")
    concurrency: Positive = Field(8, description="contexts asked at once of sampler and judge")
    sampler: EngineSettings = EngineSettings()

    @model_validator(mode="before")
    @classmethod
    def _add_decoding(cls, data: Any) -> Any:
        return with_decoding(data)

    def search(self) -> dict[str, Any]:
        """Arguments of `diverse_beam_search`."""
        return {
            "num_beams": self.num_candidates,
            "num_groups": self.num_groups or self.num_candidates,
            "diversity_penalty": self.diversity_penalty,
            "max_new_tokens": self.max_new_tokens,
            "min_new_tokens": self.min_new_tokens,
            "no_repeat_ngram_size": self.no_repeat_ngram_size,
        }


SEARCH = {"min_new_tokens": 10, "no_repeat_ngram_size": 3}
"""Of the beams, in the code of FPEMF's predecessor (Muffin, Findings of ACL 2024)."""


def with_decoding(data: Any) -> Any:
    """Search and sampler as the preset says; what is given for them counts before it."""
    if not isinstance(data, Mapping) or (name := data.get("preset")) not in DECODINGS:
        return data
    given = data.get("sampler") or {}
    if isinstance(given, BaseModel):
        given = given.model_dump(exclude_unset=True)
    if not isinstance(given, Mapping):  # refused with the other fields
        return data
    sampler = {**DECODINGS[str(name)], **{k: v for k, v in given.items() if v is not None}}
    return SEARCH | dict(data) | {"sampler": sampler}


class FeedbackSettings(Record):
    """Which judgements label the candidates, and how."""

    panel: ClassVar[str] = "Feedback"

    feedback: bool = Field(True, description="off trains on gold replies alone (an ablation)")
    ratings: tuple[str, ...] = Field((), description="ratings.jsonl with judgements of candidates")
    judge: EngineSettings = EngineSettings()
    dimensions: tuple[str, ...] = Field(
        (), description="dimensions that count; default empathy, strategy, coherence, topic"
    )
    threshold: float = Field(0.5, description="a dimension holds from this mean rating on")
    rule: str = Field(
        "all", description="combines the dimensions into a label: all, any, most or module:function"
    )


class JudgedCandidateSettings(FeedbackSettings, CandidateSettings, TurnRowSettings, SourceSettings):
    """Contexts, candidates and their judgements: what `candidates` and `train fpemf` share."""

    seed: int = Field(0, description="of sample and sampling")


class CandidateRunSettings(JudgedCandidateSettings, ShardSettings):
    """Settings of `warmline candidates`: candidates and helpful rates of any model (FPEMF Table 4)."""

    panel: ClassVar[str] = "Candidates"

    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="number format of the model: auto, float32, bfloat16 or float16"
    )
    part: Part | None = Field(
        None,
        description="search and judge one part of the contexts only, as 3/8; jobs of all parts may"
        " run at once, and the command without a part then joins them",
    )

    @model_validator(mode="after")
    def _run_agrees(self) -> CandidateRunSettings:
        problems = candidate_conflicts(self) + part_conflicts(self.part, workers=self.sharded)
        if self.part and self.candidates is not None:
            problems.append("part: candidates made before are there already")
        if self.sharded and self.candidates is not None:
            problems.append("workers: candidates made before are there already")
        if not self.ratings and self.judge.policy is None and self.feedback:
            problems.append(
                "no feedback: give ratings or a judge's policy, or switch it off (--no-feedback)"
            )
        return refuse(self, problems)


def candidate_conflicts(settings: JudgedCandidateSettings) -> list[str]:
    """Settings of candidates that contradict one another, one line each."""
    problems = []
    if settings.num_groups is not None and settings.num_groups > settings.num_candidates:
        problems.append(
            f"num_groups is {settings.num_groups}, num_candidates {settings.num_candidates}"
        )
    sampled = settings.source == "sampling" and settings.candidates is None
    if sampled and settings.sampler.policy is None:
        problems.append("source sampling needs a sampler's policy")
    return problems


class FpemfSettings(
    JudgedCandidateSettings,
    NllSettings,
    MergeSettings,
    AdapterLoopSettings,
    RepeatedSettings,
):
    """Settings of `warmline train fpemf`; defaults are those of FPEMF."""

    panel: ClassVar[str] = "Loss"
    fixed: ClassVar[Fixed] = {
        "per": ("turn", "a candidate answers one turn, so rows are per turn"),
        "validation": ((), "give all as data; validation_share of it is held out"),
    }

    seed: int = Field(0, description="of sample, split, order, dropout and adapter")
    epochs: Annotated[float, Field(gt=0)] = Field(2.0, description="passes over the contexts")
    margin: NotNegative = Field(0.01, description="of the ranking loss, lambda")
    alpha: NotNegative = Field(1.0, description="power of the length in a candidate's score")
    beta_ul: NotNegative = Field(1.0, description="weight of the ranking loss")
    beta_gen: NotNegative = Field(1.0, description="weight of the gold replies' NLL")
    nll: Nll = Field(
        "reply_mean",
        description="NLL of gold replies: reply_mean (over each reply's tokens, then replies; FPEMF"
        " eq. 8), token_mean (over a step's tokens) or sum (over each reply's tokens)",
    )
    reduction: Literal["paper", "literal", "muffin"] = Field(
        "paper",
        description="of the ranking loss: paper (FPEMF, margin outside the bracket), literal (FPEMF"
        " eq. 7 as printed) or muffin (its predecessor)",
    )
    include_gold: bool = Field(False, description="rank the gold reply too, as a helpful one")
    full: bool = Field(False, description="train all weights instead of an adapter")

    @property
    def ranks(self) -> bool:
        """Whether candidates are part of the loss."""
        return self.feedback and self.beta_ul > 0

    @model_validator(mode="after")
    def _settings_agree(self) -> FpemfSettings:
        problems = candidate_conflicts(self)
        if self.full and self.merge:
            problems.append("merge: with full there is no adapter; the checkpoint is the model")
        if not self.beta_gen and not self.ranks:
            problems.append("nothing is trained: beta_gen is 0 and candidates are left out")
        if self.ranks and not self.ratings and self.judge.policy is None:
            problems.append(
                "no feedback: give ratings, or a judge's policy, or switch it off (--no-feedback)"
            )
        return refuse(self, problems)
