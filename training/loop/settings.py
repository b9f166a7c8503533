"""Settings of every training: source, adapter and loop, as closed records that share their fields.

A trainer's settings are made of the records it needs, so that file, keywords and command line offer
the same names everywhere. Figures of the papers are defaults or presets (FPEMF §4.2, SweetieChat
§5.2, Self-Evolution §2).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ...core.claim import MAY_CHANGE
from ...core.fixed import FixedFields
from ...core.record import Record
from ..rows.settings import Positive

Share = Annotated[float, Field(ge=0, lt=1)]
Nll = Literal["token_mean", "reply_mean", "sum"]
"""How the log-likelihoods of a step's replies become one loss; see `NllSettings`."""


class LoraSettings(Record):
    """The adapter (Hu et al. 2022)."""

    panel: ClassVar[str] = "Adapter"

    lora_r: Positive = Field(8, description="rank")
    lora_alpha: Annotated[float, Field(gt=0)] = Field(
        16.0, description="scale: the adapter's output times lora_alpha / lora_r"
    )
    lora_dropout: Share = Field(0.0, description="dropout before the adapter")
    lora_targets: tuple[str, ...] = Field(
        ("attention",),
        description="adapted layers: attention (queries, keys, values, output), all-linear, or"
        " names",
    )


class SourceSettings(Record):
    """Which model is trained, on what data, and where the result goes."""

    panel: ClassVar[str] = "Data and model"

    model: str = Field(
        "embedded",
        description="base model: embedded, a folder, a .gguf file, a checkpoint or a hub id",
    )
    data: Annotated[tuple[str, ...], MAY_CHANGE] = Field(
        (), description="run folders, episode logs or sides (FOLDER:SIDE) to train on"
    )
    out: Annotated[str | None, MAY_CHANGE] = Field(
        None, description="folder of the checkpoint; the same command resumes it"
    )
    device: Annotated[Literal["auto", "cpu"], MAY_CHANGE] = Field(
        "auto", description="auto uses a GPU if available"
    )


class ValidationSettings(Record):
    """Validation data of its own, in place of a share of the data."""

    panel: ClassVar[str] = "Data and model"

    validation: Annotated[tuple[str, ...], MAY_CHANGE] = Field(
        (), description="validation data; default: a share of data"
    )


class LoopSettings(FixedFields, SourceSettings):
    """Source and training loop."""

    panel: ClassVar[str] = "Loop"

    validation_share: Share = Field(0.1, description="share of scenarios kept for validation")
    seed: int = Field(0, description="of split, order, dropout and adapter")
    epochs: Annotated[float, Field(gt=0)] = Field(5.0, description="passes over the rows")
    max_steps: Positive | None = Field(None, description="stop after this many steps")
    learning_rate: Annotated[float, Field(gt=0)] = Field(
        3e-5, description="peak learning rate of AdamW"
    )
    schedule: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="learning rate after warm-up: linear, cosine or constant"
    )
    warmup: Share = Field(0.01, description="share of the steps with a rising learning rate")
    weight_decay: Annotated[float, Field(ge=0)] = Field(0.0, description="of AdamW")
    max_grad_norm: Annotated[float, Field(ge=0)] = Field(
        1.0, description="gradients are clipped to this norm; 0 turns clipping off"
    )
    batch_size: Positive = Field(2, description="rows in a batch on each device")
    accumulation: Positive = Field(1, description="batches in one step")
    evaluate_every: Positive | None = Field(
        None, description="steps between validations; default a quarter of an epoch"
    )
    patience: Annotated[int, Field(ge=0)] = Field(
        7, description="validations without progress before stopping; 0 never stops early"
    )
    save_minutes: Annotated[float, Field(gt=0), MAY_CHANGE] = Field(
        5.0, description="minutes between saves, from which a killed run resumes"
    )
    gradient_checkpointing: bool = Field(
        False, description="recompute activations: less memory, more time"
    )
    fsdp: bool = Field(
        False,
        description="divide the weights among the processes that train together (FSDP), for a model"
        " that does not fit on one GPU",
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto", description="number format of the base: auto, float32, bfloat16 or float16"
    )
    tensorboard: Annotated[bool, MAY_CHANGE] = Field(
        False, description="also write a TensorBoard log"
    )

    @property
    def validation_batch(self) -> int:
        """Rows in a batch of validation on each device."""
        return max(8, self.batch_size)


class NllSettings(Record):
    """What the negative log-likelihood of replies is a mean of.

    `token_mean`: over all learned tokens of a step, so that long replies weigh more. `reply_mean`:
    over the tokens of each reply, then over the step's replies (FPEMF eq. 8). `sum`: summed over
    the tokens of each reply, then the mean over the step's replies (Self-Evolution eq. 2 and 7). A
    step's loss does not depend on the batches and processes that it is divided into.
    """

    panel: ClassVar[str] = "Loss"

    nll: Nll = Field(
        "token_mean",
        description="NLL of replies: token_mean (over a step's tokens), reply_mean (over each"
        " reply's tokens, then replies) or sum (over each reply's tokens, mean over replies)",
    )


class RepeatedSettings(LoopSettings):
    """A training that can be run with several seeds."""

    panel: ClassVar[str] = "Loop"

    runs: Annotated[Positive, MAY_CHANGE] = Field(
        1, description="train this many times, with seeds one apart"
    )


class MergeSettings(Record):
    """Whether the adapter is merged into its base as well."""

    panel: ClassVar[str] = "Adapter"

    merge: Annotated[bool, MAY_CHANGE] = Field(
        False, description="also write the merged model, in out/merged"
    )


class AdapterLoopSettings(LoraSettings, LoopSettings):
    """An adapter and the loop that trains it."""
