"""What can be set when training: rows, adapter and loop, as closed records that share their fields.

A trainer's settings inherit the records it needs, so that file, keywords and command line offer the
same names everywhere. Figures of the papers are defaults or presets (FPEMF §4.2, SweetieChat §5.2, Self-Evolution §2).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ...core.claim import MAY_CHANGE
from ...core.record import Record
from ..rows.settings import Positive

Share = Annotated[float, Field(ge=0, lt=1)]


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
    data: Annotated[tuple[str, ...], MAY_CHANGE] = Field(
        (), description="run folders or episode logs to learn from"
    )
    out: Annotated[str | None, MAY_CHANGE] = Field(
        None, description="checkpoint folder; the same command resumes it"
    )
    device: Annotated[Literal["auto", "cpu"], MAY_CHANGE] = Field(
        "auto", description="auto uses a GPU if available"
    )


class LoopSettings(SourceSettings):
    """Data, model and the training loop."""

    validation: Annotated[tuple[str, ...], MAY_CHANGE] = Field(
        (), description="validation data; default: a share of data"
    )
    validation_share: Share = Field(0.1, description="share of scenarios kept for validation")
    seed: int = Field(0, description="of split, order, dropout and adapter")
    runs: Annotated[Positive, MAY_CHANGE] = Field(
        1, description="train this many times, with seeds one apart"
    )
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
    save_minutes: Annotated[float, Field(gt=0), MAY_CHANGE] = Field(
        5.0, description="minutes between saves from which a killed run resumes"
    )
    gradient_checkpointing: bool = Field(False, description="less memory for more time")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="number format of the base: auto, float32, bfloat16 or float16"
    )
    tensorboard: Annotated[bool, MAY_CHANGE] = Field(
        False, description="also write a TensorBoard log"
    )
    merge: Annotated[bool, MAY_CHANGE] = Field(
        False, description="also write the merged model, in out/merged"
    )


class AdapterLoopSettings(LoraSettings, LoopSettings):
    """An adapter, and the loop that trains it."""
