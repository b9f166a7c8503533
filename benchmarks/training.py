"""Seconds a step of our SFT, of TRL's `SFTTrainer`, and of the model's forward and backward alone.

The three see the same tokens in the same order with the same adapter, and their losses are compared
before any time is believed. Only whole steps after a warm-up are timed. TRL and the model alone run
with transformers' own choice of attention; the model alone computes all logits and takes no step.

    python benchmarks/training.py --data runs/talks --model embedded --steps 20
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from warmline.training.loop.base_model import load_base, with_lora
from warmline.training.loop.loop import base_dtype, choose_attention, on_gpu
from warmline.training.loop.row_trainer import make_row_trainer
from warmline.training.rows.build import build_rows
from warmline.training.rows.collate import right_padded
from warmline.training.rows.encode import IGNORED, Encoded, RowEncoder, encode_rows
from warmline.training.rows.sources import load_episodes
from warmline.training.sft.settings import SftSettings

WARM_UP = 3
LEARNING_RATE = 3e-5


def timed_callback(seconds: list[float]) -> Any:
    """A callback that notes the length of every step."""
    from transformers import TrainerCallback

    class Timed(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            wait()
            self.began = time.perf_counter()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            wait()
            seconds.append(time.perf_counter() - self.began)

    return Timed()


def wait() -> None:
    """Until a GPU has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def logged(trainer: Any) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def ours(
    rows: Sequence[Encoded], settings: SftSettings
) -> tuple[list[float], list[float], list[int]]:
    """Seconds of each step, losses, and the order in which the rows were taken."""
    dtype = base_dtype(settings)
    base = load_base(settings.model, dtype=dtype)
    choose_attention(base, settings, dtype, max(row.tokens for row in rows))
    seconds: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_row_trainer(base, rows, [], Path(folder), settings, seed=0, dtype=dtype)
        trainer.add_callback(timed_callback(seconds))
        trainer.args.logging_steps = trainer.state.logging_steps = 1
        trainer.args.save_strategy = "no"
        order = list(trainer._get_train_sampler())
        trainer.train()
    return seconds, logged(trainer), order


def theirs(rows: Sequence[Encoded], settings: SftSettings) -> tuple[list[float], list[float]]:
    """The same by TRL, which is given tokens and masks, so that its template does not enter."""
    import datasets
    import trl

    dtype = base_dtype(settings)
    base = load_base(settings.model, dtype=dtype)
    torch.manual_seed(0)
    model = with_lora(base.model, settings)
    table = datasets.Dataset.from_list([
        {"input_ids": r.input_ids, "completion_mask": [int(x != IGNORED) for x in r.labels]}
        for r in rows
    ])  # fmt: skip
    seconds: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        arguments = trl.SFTConfig(
            output_dir=folder, max_steps=settings.max_steps, max_length=None,
            per_device_train_batch_size=settings.batch_size,
            gradient_accumulation_steps=settings.accumulation, learning_rate=LEARNING_RATE,
            warmup_steps=settings.warmup, lr_scheduler_type="linear", max_grad_norm=1.0,
            logging_steps=1, bf16=dtype == "bfloat16", use_cpu=not on_gpu(settings),
            gradient_checkpointing=False, report_to="none", completion_only_loss=True,
            train_sampling_strategy="sequential", disable_tqdm=True, save_strategy="no",
        )  # fmt: skip
        trainer = trl.SFTTrainer(
            model=model, args=arguments, processing_class=base.tokenizer, train_dataset=table
        )
        trainer.add_callback(timed_callback(seconds))
        trainer.train()
    return seconds, logged(trainer)


def bare(rows: Sequence[Encoded], settings: SftSettings) -> list[float]:
    """Seconds of forward and backward of the model with the adapter, all logits, nothing else."""
    dtype = base_dtype(settings)
    device = "cuda" if on_gpu(settings) else "cpu"
    base = load_base(settings.model, dtype=dtype)
    torch.manual_seed(0)
    model = with_lora(base.model, settings).to(device).train()
    seconds = []
    size = settings.batch_size
    for step in range(settings.max_steps or 1):
        wait()
        began = time.perf_counter()
        for part in range(settings.accumulation):
            start = (step * settings.accumulation + part) * size
            batch = rows[start : start + size]
            ids = right_padded([r.input_ids for r in batch], base.tokenizer.pad_token_id)
            mask = right_padded([[1] * r.tokens for r in batch], 0)
            labels = right_padded([r.labels for r in batch], IGNORED)
            with torch.autocast(device, torch.bfloat16, enabled=dtype == "bfloat16"):
                loss = model(ids.to(device), attention_mask=mask.to(device),
                             labels=labels.to(device)).loss  # fmt: skip
            loss.backward()
        model.zero_grad()
        wait()
        seconds.append(time.perf_counter() - began)
    return seconds


def median(seconds: Sequence[float]) -> float:
    kept = sorted(seconds[WARM_UP:])
    return kept[len(kept) // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="+", required=True)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=2)
    parser.add_argument("--accumulation", type=int, default=1)
    parser.add_argument("--max-tokens", type=int, default=1024)
    parser.add_argument("--dtype", default="auto")
    given = parser.parse_args()
    settings = SftSettings(
        model=given.model, data=tuple(given.data), max_steps=given.steps + WARM_UP,
        batch_size=given.batch_size, accumulation=given.accumulation, dtype=given.dtype,
        learning_rate=LEARNING_RATE, epochs=1.0, max_tokens=given.max_tokens,
    )  # fmt: skip
    base = load_base(settings.model)
    encoder = RowEncoder(base.tokenizer, base.model.config, base.model.generation_config)
    built = build_rows(load_episodes(settings.data)[0], settings)
    needed = (settings.max_steps or 1) * settings.batch_size * settings.accumulation
    made, _, _ = encode_rows(encoder, built.rows[: 2 * needed], settings.max_tokens)
    if len(made) < needed:
        raise SystemExit(f"{needed} rows are needed, and the data gives {len(made)}")
    rows = made[:needed]
    seconds, losses, order = ours(rows, settings)
    in_order = [rows[n] for n in order]
    trl_seconds, trl_losses = theirs(in_order, settings)
    apart = max(abs(a - b) / b for a, b in zip(losses, trl_losses, strict=True))
    alone = bare(in_order, settings)
    tokens = sum(r.tokens for r in in_order) / len(seconds)
    print(f"{base_dtype(settings)}, {torch.get_num_threads()} threads, {tokens:.0f} tokens a step")
    print(f"losses differ by at most {apart:.1e} (relative)")
    for name, found in (("ours", seconds), ("TRL", trl_seconds), ("model alone", alone)):
        print(f"{name:12} {median(found):.3f} s a step")
    print(f"TRL / ours {median(trl_seconds) / median(seconds):.2f} (aim 1.2)")
    print(f"model alone / ours {median(alone) / median(seconds):.2f} (aim 0.95)")


if __name__ == "__main__":
    main()
