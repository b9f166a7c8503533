"""What every trainer's loop shares: claiming and resuming a folder, arguments, saves, the end.

`transformers.Trainer` runs the loop. A folder under way holds `training.json` (what decides the
result), `trainer/` (the saves) and, while a process is at work, `training.lock`; finished, it is a
checkpoint, and `trainer/` is gone.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from safetensors import safe_open
from transformers import (
    PrinterCallback,
    Trainer,
    TrainingArguments,
)

from ...agents.templates import portable
from ...core.errors import Interrupted, RunError
from ...core.tasks import SIGNAL_EXIT
from ...environments.corpus.seen import Seen, seen_by, write_seen
from ...policies.models.loading import find_dtype
from ...policies.models.quiet import quietly
from ...policies.models.sources import find_source
from ..rows.left_out import LeftOut
from ..rows.sources import DataSource
from .base_model import Base
from .callbacks import (
    AtTheEnd,
    LiveProgress,
    NoStep,
    TimedSaves,
    is_at_its_end,
    stop_on_interrupt,
)
from .checkpoint import (
    Checkpoint,
    libraries,
    name_base,
    parent_of,
    read_checkpoint,
    write_checkpoint,
)
from .distributed import process_count, whole_weights
from .resume import merge_if_asked
from .settings import LoopSettings, SourceSettings

SAVES = "trainer"
ADAPTER_NAME = "adapter_model.safetensors"

EVALUATIONS_PER_EPOCH = 4
PLAIN_ATTENTION_TOKENS = 512
LOGS_PER_EPOCH = 50


_RECOMPUTE: dict[str, Any] = {
    "gradient_checkpointing": True,
    "gradient_checkpointing_kwargs": {"use_reentrant": False},
}


DIVIDED = {"auto_wrap_policy": "TRANSFORMER_BASED_WRAP", "state_dict_type": "FULL_STATE_DICT"}
"""How FSDP divides a model: by its layers; whole weights are saved, which one process can read.

Activations are computed anew by transformers, as without FSDP: accelerate's own way draws another
mask of dropout the second time, and renames the layers, so that peft then saves none of them."""


class Stopped(Interrupted):
    """Ctrl-C, SIGTERM or SIGHUP: the state is saved, and the same command resumes from there."""


def last_save(folder: Path) -> Path | None:
    """The latest complete save in a folder; what a kill left half written is removed.

    `trainer_state.json` is written last, so a save in which it can be read is complete.
    """
    saves = sorted((folder / SAVES).glob("checkpoint-*"), key=_step_of, reverse=True)
    for save in saves:
        try:
            json.loads((save / "trainer_state.json").read_text("utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(save)
            continue
        return save
    return None


def _step_of(save: Path) -> int:
    number = save.name.rpartition("-")[2]
    return int(number) if number.isdigit() else -1


def on_gpu(settings: SourceSettings) -> bool:
    """Whether a GPU is used."""
    return settings.device == "auto" and torch.cuda.is_available()


def base_dtype(settings: LoopSettings) -> str:
    """The number format of the frozen base: as asked, else what the hardware multiplies fast."""
    return find_dtype(settings.dtype, "cuda" if on_gpu(settings) else "cpu")


def attention(settings: LoopSettings, dtype: str) -> str | None:
    """FlashAttention-2 on GPUs where it is installed; else None, transformers' own choice."""
    from transformers.utils import is_flash_attn_2_available

    usable = on_gpu(settings) and dtype != "float32" and is_flash_attn_2_available()
    return "flash_attention_2" if usable else None


def choose_attention(base: Base, settings: LoopSettings, dtype: str, longest: int) -> None:
    """Set the fastest implementation of attention that is here and fits the rows of `settings`.

    On CPUs in bfloat16 a step of rows of 300 tokens took a fifth less with plain attention than
    with PyTorch's fused one, and one of 900 tokens twice as much: it is taken for short rows alone.

    Args:
        longest: tokens in the longest row.
    """
    chosen = attention(settings, dtype)
    short = longest <= PLAIN_ATTENTION_TOKENS and not base.model.config.is_encoder_decoder
    if short and dtype == "bfloat16" and not on_gpu(settings):
        chosen = "eager"
    if chosen is not None:
        base.model.set_attn_implementation(chosen)


def steps_per_epoch(rows: int, settings: LoopSettings) -> int:
    """Optimizer steps in one pass of this process, the last perhaps not full."""
    batches = math.ceil(rows / (settings.batch_size * process_count()))
    return math.ceil(batches / settings.accumulation)


def training_arguments(
    folder: Path,
    settings: LoopSettings,
    *,
    rows: int,
    seed: int,
    dtype: str,
    validate: bool,
    resumed: bool,
) -> TrainingArguments:
    """The arguments of `transformers.Trainer` for these settings.

    Args:
        folder: the checkpoint's folder.
        rows: number of training rows.
        dtype: of the base's weights.
        validate: whether there are validation rows.
        resumed: whether a save is resumed; else the untrained model is validated first.
    """
    epoch = steps_per_epoch(rows, settings)
    total = settings.max_steps or math.ceil(epoch * settings.epochs)
    every = settings.evaluate_every or max(1, epoch // EVALUATIONS_PER_EPOCH)
    every = min(every, total)
    gpu = on_gpu(settings)
    return TrainingArguments(
        output_dir=str(folder / SAVES),
        seed=seed,
        data_seed=seed,
        per_device_train_batch_size=settings.batch_size,
        per_device_eval_batch_size=settings.validation_batch,
        gradient_accumulation_steps=settings.accumulation,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant_with_warmup"
        if settings.schedule == "constant"
        else settings.schedule,
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        optim="adamw_torch_fused" if gpu else "adamw_torch",
        eval_strategy="steps" if validate else "no",
        eval_steps=every,
        eval_on_start=validate and not resumed,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=validate,
        metric_for_best_model="eval_loss" if validate else None,
        greater_is_better=False if validate else None,
        logging_steps=max(1, min(every, epoch // LOGS_PER_EPOCH)),
        logging_first_step=True,
        report_to="none",
        bf16=dtype == "bfloat16",
        fp16=dtype == "float16" and gpu,
        tf32=True if gpu and torch.cuda.get_device_capability()[0] >= 8 else None,
        use_cpu=not gpu,
        dataloader_pin_memory=gpu,
        ddp_find_unused_parameters=False,
        remove_unused_columns=False,
        label_names=["labels"],
        prediction_loss_only=True,
        disable_tqdm=True,
        restore_callback_states_from_checkpoint=True,
        **({"fsdp": True, "fsdp_config": DIVIDED} if settings.fsdp else {}),
        **(_RECOMPUTE if settings.gradient_checkpointing else {}),
    )


def run_loop(trainer: Any, resume: Path | None) -> None:
    """Train to the end. The trainer must have the callback `TimedSaves`.

    Raises:
        Stopped: Ctrl-C came; the state is saved.
    """
    saves = next(c for c in trainer.callback_handler.callbacks if isinstance(c, TimedSaves))
    if resume is not None and is_at_its_end(resume):
        trainer.add_callback(NoStep())
    try:
        with stop_on_interrupt(saves):
            trainer.train(resume_from_checkpoint=str(resume) if resume else None)
    except AtTheEnd:
        trainer.callback_handler.on_train_end(trainer.args, trainer.state, trainer.control)
        if trainer.args.load_best_model_at_end and trainer.state.best_model_checkpoint is not None:
            trainer._load_best_model()  # as `train` does behind its last step
        return
    if saves.stopping and trainer.state.global_step < trainer.state.max_steps:
        stopped = Stopped(
            f"stopped after {trainer.state.global_step} of {trainer.state.max_steps} steps",
            hint="the same command resumes from there",
        )
        stopped.exit_code = SIGNAL_EXIT + saves.signal
        raise stopped


@quietly()
def run_training(
    make: Callable[[bool], Trainer], folder: Path, tokens: float, console: Console
) -> Trainer:
    """Train to the end, from the last save in the folder where there is one, and show the progress.

    Args:
        make: makes the trainer, with the callbacks of `make_callbacks`; its argument is whether a
        save is resumed.
        tokens: of one step of this process, for the speed that is shown.

    Raises:
        Stopped: Ctrl-C came; the state is saved.
    """
    save = last_save(folder)
    if save is not None:
        console.print(f"resuming from step {_step_of(save)}")
    trainer = make(save is not None)
    trainer.remove_callback(PrinterCallback)  # `LiveProgress` shows it
    trainer.add_callback(LiveProgress(console, folder.name, tokens))
    run_loop(trainer, save)
    return trainer


def finish(
    trainer: Any,
    base: Base,
    folder: Path,
    *,
    kind: str,
    settings: LoopSettings,
    seed: int,
    data: Sequence[DataSource],
    rows: Mapping[str, int],
    metrics: Mapping[str, float | None],
    seen: Seen,
    heads: Mapping[str, tuple[str, ...]] | None = None,
    left_out: Sequence[LeftOut] = (),
) -> Checkpoint:
    """Make the folder a checkpoint: weights, tokenizer, log, card, record; then drop the saves.

    What the base has seen is added to `seen`, so each checkpoint's record is whole by itself.
    Where the settings say so, the merged model goes into `merged/`.
    """
    seen |= seen_by(find_source(base.named, merge=True).folders)
    recorded = settings.model_dump(mode="json")
    if recorded.get("template"):  # its file may be changed, or be sought from elsewhere
        recorded["template"] = portable(recorded["template"])
    checkpoint = Checkpoint(
        kind=kind,
        base=settings.model,
        base_identity=base.identity,
        parent=parent_of(settings.model, folder),
        settings=recorded,
        data=tuple(data),
        rows=dict(rows),
        seen=seen.counts(),
        left_out=tuple(left_out),
        metrics=dict(metrics),
        heads=dict(heads or {}),
        seed=seed,
        libraries=libraries(),
        warmline=version("warmline"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    gathered = whole_weights(trainer)
    if not trainer.is_world_process_zero():
        return checkpoint
    model = trainer.accelerator.unwrap_model(trainer.model)
    _refuse_broken(model, gathered)
    model.save_pretrained(folder, state_dict=gathered)
    _refuse_unsaved(model, folder)
    if hasattr(model, "peft_config"):
        name_base(folder, base.named)
    base.tokenizer.save_pretrained(folder)
    write_seen(folder, seen)
    write_checkpoint(folder, checkpoint, trainer.state.log_history)
    merge_if_asked(folder, settings)
    shutil.rmtree(folder / SAVES, ignore_errors=True)
    return read_checkpoint(folder)


def _refuse_broken(model: Any, gathered: Mapping[str, Any] | None) -> None:
    trained = gathered or {n: p for n, p in model.named_parameters() if p.requires_grad}
    broken = [name for name, weights in trained.items() if not weights.isfinite().all()]
    if broken:
        raise RunError(
            f"the training diverged: {len(broken)} weights are NaN or infinite,"
            f" such as {broken[0]}",
            hint="lower learning_rate, or use dtype = 'float32'",
        )


def _refuse_unsaved(model: Any, folder: Path) -> None:
    """See that an adapter's file holds every weight that was trained."""
    file = folder / ADAPTER_NAME
    if not hasattr(model, "peft_config") or not file.is_file():
        return
    with safe_open(file, "pt") as saved:
        count = len(saved.keys())
    trained = sum(parameter.requires_grad for parameter in model.parameters())
    if count < trained:
        raise RunError(
            f"{file} holds {count} of the {trained} weights that were trained",
            hint=f"a fault of this program; the last save in {folder / SAVES} is kept",
        )


def best_metrics(trainer: Any) -> dict[str, float | None]:
    """What was measured of the weights that are kept, and of the untrained ones."""
    log = trainer.state.log_history
    evaluated = [entry for entry in log if "eval_loss" in entry]
    found: dict[str, float | None] = {"steps": float(trainer.state.global_step)}
    losses = [entry["loss"] for entry in log if "loss" in entry]
    found["train_loss_last"] = losses[-1] if losses else None
    if not evaluated:
        return found
    first, best = evaluated[0], min(evaluated, key=lambda entry: entry["eval_loss"])
    if first["step"] == 0:
        found["validation_loss_before"] = first["eval_loss"]
        best = min(evaluated[1:] or evaluated, key=lambda entry: entry["eval_loss"])
    kept = {k: v for k, v in best.items() if k.startswith("eval_")}
    found |= {k.replace("eval_", "validation_", 1): v for k, v in kept.items()}
    found["best_step"] = float(best["step"])
    return found
