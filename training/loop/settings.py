"""What can be set when training: rows, adapter and loop, as closed records that share their fields.

A trainer's settings inherit the records it needs, so that file, keywords and command line offer the
same names everywhere. Figures of the papers are defaults or presets (FPEMF §4.2, SweetieChat §5.2, Self-Evolution §2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, model_validator

from ...core.record import Record

Share = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]

S = TypeVar("S", bound=Record)

BadRows = Literal["skip", "refuse"]

PRESETS: dict[str, dict[str, Any]] = {
    "support": {},
    "m0": {
        "lora_r": 8,
        "lora_alpha": 16,
        "lora_targets": ("all-linear",),
        "learning_rate": 5e-6,
        "warmup": 0.01,
        "batch_size": 4,
        "accumulation": 2,
        "epochs": 2.0,
        "patience": 3,
        "validation_share": 0.1,
        "replay_rows": 500,
    },
}
"""Settings by the name of what they train: SweetieChat §5.2 (the defaults) and M⁰ of Self-Evolution §2.1."""


class RowSettings(Record):
    """How episodes become rows."""

    per: Literal["turn", "conversation"] = Field(
        "turn", description="a row for each supporter turn, or for each conversation: turn"
        " or conversation"
    )  # fmt: skip
    history_window: Positive | None = Field(
        None, description="latest utterances shown before a turn; default 6"
    )
    strategy: Literal["shown", "hidden", "first"] = Field(
        "shown", description="strategy in the prompt, hidden, or written first by the supporter:"
        " shown, hidden or first"
    )  # fmt: skip
    label: Literal["first", "last"] = Field(
        "first", description="which of several strategies of one turn counts: first or last"
    )
    definitions: bool = Field(False, description="system prompt defines the eight strategies")
    template: str | None = Field(
        None, description="supporter's prompt template; default by strategy and definitions"
    )
    max_sentences: Positive = Field(3, description="sentence limit that the prompt states")
    case_dialogues: Annotated[int, Field(ge=0)] = Field(
        0, description="case dialogues of the seed pool in the prompt"
    )
    as_asked: bool = Field(
        False, description="take prompts of simulated episodes exactly as they were logged"
    )
    max_tokens: Positive = Field(1024, description="longest row, prompt and reply together")
    on_bad_row: BadRows = Field("skip", description="skip or refuse rows that cannot be used")

    @model_validator(mode="after")
    def _rows_agree(self) -> Self:
        return refuse(self, row_conflicts(self))


class LoraSettings(Record):
    """The adapter (Hu et al. 2022)."""

    lora_r: Positive = Field(8, description="rank of the adapter")
    lora_alpha: Annotated[float, Field(gt=0)] = Field(16.0, description="scale, over the rank")
    lora_dropout: Share = Field(0.0, description="dropout before the adapter")
    lora_targets: tuple[str, ...] = Field(
        ("attention",),
        description="layers adapted: attention (queries, keys, values, output), all-linear, or names",
    )


class SourceSettings(Record):
    """Which model learns, from what, and where the result lies."""

    model: str = Field(
        "embedded", description="base: embedded, a folder, a .gguf file, a checkpoint or a hub id"
    )
    data: tuple[str, ...] = Field((), description="run folders or episode logs to learn from")
    out: str | None = Field(None, description="checkpoint folder; the same command resumes it")
    device: Literal["auto", "cpu"] = Field("auto", description="auto takes GPUs where there are")


class LoopSettings(SourceSettings):
    """Data, model and the training loop."""

    validation: tuple[str, ...] = Field((), description="validation data; default: a share of data")
    validation_share: Share = Field(0.1, description="share of scenarios kept for validation")
    seed: int = Field(0, description="of split, order, dropout and adapter")
    runs: Positive = Field(1, description="train this many times, with seeds one apart")
    epochs: Annotated[float, Field(gt=0)] = Field(5.0, description="passes over the rows")
    max_steps: Positive | None = Field(None, description="stop after so many steps")
    learning_rate: Annotated[float, Field(gt=0)] = Field(3e-5, description="of AdamW, at its peak")
    schedule: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="of the learning rate after warm-up: linear, cosine or constant"
    )
    warmup: Share = Field(0.01, description="share of the steps")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="of AdamW")
    max_grad_norm: Annotated[float, Field(ge=0)] = Field(1.0, description="0 clips nothing")
    batch_size: Positive = Field(2, description="rows on each device at once")
    accumulation: Positive = Field(1, description="batches in one step")
    evaluate_every: Positive | None = Field(
        None, description="steps between evaluations; default a quarter of an epoch"
    )
    patience: Annotated[int, Field(ge=0)] = Field(
        7, description="evaluations without progress before stopping; 0 never stops early"
    )
    save_minutes: Annotated[float, Field(gt=0)] = Field(
        5.0, description="minutes between saves from which a killed run resumes"
    )
    gradient_checkpointing: bool = Field(False, description="less memory for more time")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="number format of the base: auto, float32, bfloat16 or float16"
    )
    tensorboard: bool = Field(False, description="also write a TensorBoard log")
    merge: bool = Field(False, description="also write the merged model, in out/merged")


class ReplaySettings(Record):
    """Instruction rows mixed in, so that general ability is kept (Self-Evolution §2.1)."""

    replay: str | None = Field(
        None, description="file of instruction rows (instruction, input, output)"
    )
    replay_rows: Positive | None = Field(None, description="how many of them")
    replay_share: Share | None = Field(None, description="or their share of all training rows")

    @model_validator(mode="after")
    def _replay_agrees(self) -> Self:
        problems = []
        if self.replay_rows and self.replay_share:
            problems.append("replay_rows and replay_share both say how much to replay")
        if (self.replay_share or self.replay_rows) and not self.replay:
            problems.append("replay needs a file of instruction rows: give it as `replay`")
        return refuse(self, problems)


class SftSettings(RowSettings, LoraSettings, LoopSettings, ReplaySettings):
    """Supervised fine-tuning of the supporter (SweetieChat §5.2); `preset` m0 is Self-Evolution §2.1."""

    preset: Literal["support", "m0"] = Field(
        "support", description="settings of a paper: support (SweetieChat) or m0 (Self-Evolution)"
    )

    @model_validator(mode="before")
    @classmethod
    def _lay_over_preset(cls, data: Any) -> Any:
        return over_preset(data)


def over_preset(data: Any) -> Any:
    """Given settings, laid over those of the preset that they name."""
    if not isinstance(data, Mapping):
        return data
    return PRESETS.get(str(data.get("preset", "support")), {}) | dict(data)


def refuse(settings: S, problems: list[str]) -> S:
    """The settings, unless there are problems: then pydantic's kind of error, with all of them."""
    if problems:
        raise ValueError("; ".join(problems))
    return settings


def row_conflicts(settings: RowSettings) -> list[str]:
    """Settings of rows that contradict one another, one line each."""
    if settings.per == "conversation" and settings.history_window is not None:
        return ["history_window is for rows of turns; a conversation is shown whole"]
    if not settings.as_asked:
        return []
    fixed = ("per", "history_window", "strategy", "definitions", "template", "case_dialogues")
    return [
        f"as_asked takes prompts as they were logged, so {name} cannot be changed"
        for name in fixed
        if getattr(settings, name) != RowSettings.model_fields[name].default
    ]
