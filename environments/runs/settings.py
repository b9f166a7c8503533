"""The settings of a run: what `warmline simulate` takes, as TOML, options or keywords.

Closed and frozen: an unknown key is refused with a suggestion, and all problems are reported at
once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from ...agents.conditions import StrategyCondition, read_condition
from ...agents.roles import Role
from ...core.record import Record
from ...core.settings import read_settings
from ...core.tasks import GRACE
from ...policies.base import DRAWING, Sampling
from ...policies.thinking.switches import Thinking
from ..dialogue.limits import Limits
from ..episodes.usage import Price
from .decoding import decoded_seats

DEFAULT_POLICY = "embedded"

NOT_DECIDING = ("episodes", "concurrency", "speculative", "grace", "retry_failed", "prices")
"""Settings that change no conversation of a run, only how many and how they are played."""

UNUSED_SEAT_OPTIONS = frozenset(
    {
        ("seeker.", "seated"),
        ("supporter.", "seated"),
        ("counselor.", "openings"),
        ("judger.", "openings"),
        ("seeker.", "strategy"),
        ("counselor.", "strategy"),
        ("judger.", "strategy"),
    }
)
"""Fields of `RoleSettings` that have no meaning for a seat, and so no command-line option."""


def _one_or_several(given: Any) -> Any:
    """An address that is given as a list of one is that address."""
    return given[0] if isinstance(given, list | tuple) and len(given) == 1 else given


class PolicySettings(Record):
    """Which policy answers."""

    panel: ClassVar[str] = "Engine"

    policy: str | None = Field(None, description="policy by name or import string")
    model: str | None = Field(None, description="model name or path, for policies that take one")
    base_url: Annotated[tuple[str, ...] | str | None, BeforeValidator(_one_or_several)] = Field(
        None,
        description="address of an OpenAI-compatible server; several (each with its own --base-url), or"
        " @FILE with one a line, where they serve the same model",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="further options of the policy, as key=value"
    )
    wrap: tuple[str | dict[str, Any], ...] = Field(
        (),
        description="wrappers around the policy, innermost first: cache, limit, budget, best_of,"
        " refine, fallback; as NAME or NAME:key=value,key=value",
    )

    def policy_options(self) -> dict[str, Any]:
        """Arguments for `make_policy`."""
        named = {"model": self.model, "base_url": self.base_url, "wrap": list(self.wrap) or None}
        return {k: v for k, v in named.items() if v is not None} | self.options


class SamplingSettings(Record):
    """How a policy draws tokens; what is not set is the role's own."""

    panel: ClassVar[str] = "Sampling"

    temperature: float | None = Field(None, description="0 is greedy")
    top_p: float | None = Field(None, description="nucleus mass")
    top_k: int | None = Field(None, description="most likely tokens kept; 0 keeps all")
    min_p: float | None = Field(None, description="least relative probability")
    repetition_penalty: float | None = Field(None, description="1 is off")
    max_tokens: int | None = Field(None, description="maximum number of tokens in an answer")
    thinking: Thinking | None = Field(
        None, description="whether and how much a model thinks first: off, on, low, medium or high"
    )
    max_thinking_tokens: int | None = Field(
        None, description="maximum number of tokens it thinks, besides --max-tokens"
    )

    def sampling(self) -> Sampling:
        """The sampling settings among these."""
        return Sampling(
            self.temperature,
            self.top_p,
            self.top_k,
            self.min_p,
            self.repetition_penalty,
            self.max_tokens,
            self.thinking,
            self.max_thinking_tokens,
        )


class EngineSettings(SamplingSettings, PolicySettings):
    """Which policy answers, and how it draws tokens."""


class RoleSettings(EngineSettings):
    """One seat; what is not set here comes from the run's own settings."""

    seated: bool = Field(True, description="whether anyone sits there (counselor, judger only)")
    template: str | None = Field(None, description="prompt template: shipped name or path")
    openings: bool | None = Field(
        None,
        description="pre-fill first words; default: on for small models (seeker, supporter only)",
    )
    strategy: Annotated[StrategyCondition, BeforeValidator(read_condition)] | None = Field(
        None,
        description="what the supporter's prompt tells of strategies: hidden (nothing), listed (all"
        " eight), self (it writes its choice first) or advised (the counselor's choice); default:"
        " advised with a counselor, else hidden (supporter only)",
    )

    @property
    def unadvised(self) -> bool:
        """Whether this supporter leaves the counselor unasked."""
        return self.strategy not in (None, StrategyCondition.ADVISED)


class RunSettings(Limits, EngineSettings):
    """Settings of one run. Top-level sampling applies to the speaking roles."""

    panel: ClassVar[str] = "Run"
    supporters: ClassVar[tuple[str, ...]] = ("supporter",)

    preset: Literal["self-evolution", "fpemf"] | None = Field(
        None,
        description="decoding of a paper for the supporter: self-evolution (temperature 0.9, top-p"
        " 0.8, top-k 50, repetition penalty 1.2) or fpemf (temperature 0.7, top-p 0.9, at most 40"
        " tokens)",
    )
    episodes: Annotated[int, Field(ge=1)] | None = Field(
        None, description="conversations; default 8, or all of --scenarios"
    )
    policy: str = Field(DEFAULT_POLICY, description="policy by name or import string")
    scenarios: str | None = Field(
        None,
        description="JSONL file of scenarios, or a corpus (FOLDER or FOLDER:SIDE) whose scenarios"
        " are played; default: seed pool",
    )
    problem_types: tuple[str, ...] = Field((), description="only scenarios of these types")
    out: str | None = Field(
        None,
        description="the run's folder, or a URL such as s3://bucket/run; the same command again resumes it",
    )
    concurrency: Annotated[int, Field(ge=1)] | None = Field(
        None,
        description="conversations in flight; default: a quarter more than what the engines compute"
        " at once, or 8",
    )
    seed: int = Field(0, description="the run's seed")
    speculative: bool = Field(
        False, description="ask the seeker ahead while the judger decides; changes no word"
    )
    grace: Annotated[float, Field(ge=0)] = Field(
        GRACE, description="seconds that open conversations may take after SIGTERM or SIGHUP"
    )
    retry_failed: bool = Field(False, description="play logged episodes that failed once more")
    max_turns: Annotated[int, Field(ge=1)] | None = Field(  # type: ignore[assignment]
        None,
        description="utterances of seeker and supporter together; default 20, or 16 with a small"
        " model as seeker",
    )
    history_window: Annotated[int, Field(ge=1)] | None = Field(  # type: ignore[assignment]
        None,
        description="utterances shown to the speaking roles (SweetieChat Fig. 12); default 6, or 20"
        " with a small model as seeker",
    )
    case_dialogues: Annotated[int, Field(ge=0)] | None = Field(  # type: ignore[assignment]
        None,
        description="examples shown to the supporter (FPEMF §3.1.3); default 3, or none for a small"
        " model",
    )
    min_turns: Annotated[int, Field(ge=0)] | None = Field(  # type: ignore[assignment]
        None,
        description="the judger is not asked before this many utterances; default 0, or 8 for a small"
        " model",
    )
    prices: dict[str, Price] = Field(
        default_factory=dict,
        description='money per million tokens by policy, in the TOML file: [prices."openai:NAME"]'
        " prompt = 2.5, cached = 1.25, completion = 10.0",
    )
    seeker: RoleSettings = RoleSettings()
    counselor: RoleSettings = RoleSettings()
    supporter: RoleSettings = RoleSettings()
    judger: RoleSettings = RoleSettings()

    @model_validator(mode="before")
    @classmethod
    def _add_decoding(cls, data: Any) -> Any:
        return decoded_seats(data, cls.supporters) if isinstance(data, Mapping) else data

    @model_validator(mode="after")
    def _conditions_agree(self) -> Self:
        problems = [
            f"{name}.strategy: only a supporter is told of strategies"
            for name in ("seeker", "counselor", "judger")
            if getattr(self, name).strategy is not None
        ]
        for name in self.supporters:
            told = getattr(self, name).strategy
            if told is StrategyCondition.ORACLE:
                problems.append(f"{name}.strategy oracle: a new conversation has no labels to show")
            if told is StrategyCondition.ADVISED and not self.counselor.seated:
                problems.append(f"{name}.strategy advised needs a counselor")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def default_folder(self) -> str:
        """Where a run goes that names no folder: by policy, seed and whatever else decides it.

        So the same command resumes its run, and another one does not find its folder taken.
        """
        free = {"policy", "seed", "out", *NOT_DECIDING}
        others = self.model_dump(mode="json", exclude_defaults=True, exclude=free)
        digest = hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()[:6]
        name = self.policy.replace(":", "-").replace("/", "-")
        return f"runs/{name}-seed{self.seed}" + (f"-{digest}" if others else "")

    def role(self, role: Role) -> RoleSettings:
        """One seat's settings with the run's filled in.

        The counselor's seat stays empty where the supporter's condition leaves it unasked.


        A seat with a policy of its own takes nothing of the run's policy options, nor how its model
        thinks; other sampling of the run goes to the speaking roles only (the advisers answer by
        constrained choice).
        """
        own: RoleSettings = getattr(self, role.value)
        inherited: dict[str, Any] = {}
        if own.policy is None:
            inherited |= {"policy": self.policy, "options": {**self.options, **own.options}}
            inherited["wrap"] = own.wrap or self.wrap
            inherited |= {
                "model": own.model or self.model,
                "base_url": own.base_url or self.base_url,
                "thinking": own.thinking or self.thinking,
                "max_thinking_tokens": own.max_thinking_tokens or self.max_thinking_tokens,
            }
        if role is Role.COUNSELOR and self.supporter.unadvised:
            inherited["seated"] = False
        if role in (Role.SEEKER, Role.SUPPORTER):
            drawn = own.sampling().over(self.sampling()).as_dict()
            inherited |= {name: value for name, value in drawn.items() if name in DRAWING}
        return own.model_copy(update=inherited)


def load_settings(
    file: str | Path | None = None, given: Mapping[str, Any] | None = None
) -> RunSettings:
    """The settings of a run; see `read_settings`."""
    return read_settings(RunSettings, file, given)
