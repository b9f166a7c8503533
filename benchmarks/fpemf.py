"""A step over candidates that share their prompt, beside separate passes and beside TRL, in one run.

Each part runs in a process of its own, so that its peak memory is its own: one forward and backward
pass over the same random tokens, with the same adapter. `repeated` gives every reply its prompt in a
row of its own, all logits kept, as a batch of plain rows does; `repeated, sparing` keeps only the
replies' logits. The second table is DPO with the SFT term: TRL's `DPOTrainer` with the reference
computed live and beforehand, and the candidate batch with K = 2.

    python benchmarks/fpemf.py [--model embedded] [--prompts 112 250 500 1000] [--repeats 3] [--json]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from warmline.training.candidates.batch import CandidateBatch, candidate_log_probs
from warmline.training.candidates.losses import (
    contrastive_loss,
    dpo_loss,
    nll_loss,
    sequence_scores,
    token_log_probs,
)
from warmline.training.loop.base_model import load_base, with_lora
from warmline.training.loop.settings import LoraSettings

FORMS = ("repeated", "repeated, sparing", "tree", "cache")
PREFERENCE = ("trl", "trl, precomputed", "shared")
GOAL_SPEED, GOAL_MEMORY, GOAL_DPO = 2.5, 0.4, 2.0


def tiny() -> Any:
    """A model for a smoke test."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=512, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=2048,
        )
    )  # fmt: skip


def network(name: str) -> Any:
    """The model with an adapter that already says something."""
    torch.manual_seed(0)
    model = tiny() if name == "tiny" else load_base(name, dtype="float32").model
    adapted = with_lora(model.requires_grad_(False), LoraSettings())
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weights in adapted.parameters():
            if weights.requires_grad:
                weights.copy_(0.02 * torch.randn(weights.shape, generator=draw))
    return adapted.train()


def step_away(model: Any) -> None:
    """Move the trained weights, so that the preference term is not that of the reference itself."""
    draw = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.requires_grad:
                weights.add_(0.02 * torch.randn(weights.shape, generator=draw))


def batch_of(vocabulary: int, contexts: int, prompt: int, reply: int, candidates: int) -> Any:
    """Random tokens, all rows full."""
    draw = torch.Generator().manual_seed(2)
    prompts = torch.randint(3, vocabulary, (contexts, prompt), generator=draw)
    replies = torch.randint(3, vocabulary, (contexts, candidates, reply), generator=draw)
    return CandidateBatch(prompts, torch.ones_like(prompts), replies, torch.ones_like(replies))


def repeated(model: Any, batch: CandidateBatch, *, sparing: bool) -> tuple[Tensor, Tensor]:
    """Token log-probabilities `(batch, candidates, time)` with a row for each reply."""
    contexts, candidates, time_ = batch.reply_ids.shape
    ahead = batch.prompt_ids.repeat_interleave(candidates, dim=0)
    replies = batch.reply_ids.flatten(0, 1)
    keep: dict[str, Any] = {"logits_to_keep": time_ + 1} if sparing else {}
    logits = model(input_ids=torch.cat([ahead, replies], dim=1), use_cache=False, **keep).logits
    found = token_log_probs(logits[:, -time_ - 1 : -1], replies)
    return found.view(contexts, candidates, time_), batch.reply_mask


def ranking_step(model: Any, batch: CandidateBatch, form: str) -> Tensor:
    """FPEMF's loss; the first reply is the gold one, every second of the others is helpful."""
    if form.startswith("repeated"):
        tokens, mask = repeated(model, batch, sparing=form.endswith("sparing"))
    else:
        found = candidate_log_probs(model, batch, form=form)  # type: ignore[arg-type]
        tokens, mask = found.tokens, found.mask
    labels = torch.arange(tokens.shape[1]).remainder(2).expand(tokens.shape[:2]).clone()
    labels[:, 0] = -1
    scores = sequence_scores(tokens, mask, 1.0)
    return contrastive_loss(scores, labels, 1.0) + nll_loss(tokens[:, 0], mask[:, 0])


def preference_step(model: Any, batch: CandidateBatch, form: str) -> Callable[[], Tensor]:
    """DPO + SFT; the reference is the adapter as it was, before a step away from it."""
    if form.startswith("trl"):
        return trl_step(model, batch, precomputed="precomputed" in form)
    with torch.no_grad():
        reference = candidate_log_probs(model, batch).sums
    step_away(model)

    def step() -> Tensor:
        found = candidate_log_probs(model, batch)
        ranked = dpo_loss(*found.sums.unbind(1), *reference.unbind(1))
        return ranked + nll_loss(found.tokens[:, 0], found.mask[:, 0])

    return step


def trl_step(model: Any, batch: CandidateBatch, *, precomputed: bool) -> Callable[[], Tensor]:
    """The loss of TRL's trainer on the same rows."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    class Tokenized(DPOTrainer):  # type: ignore[misc]
        """Takes rows that are in tokens already."""

        def _prepare_dataset(self, dataset: Any, *rest: Any) -> Any:
            return dataset

    rows = [
        {"prompt_ids": p, "chosen_ids": r[0], "rejected_ids": r[1]}
        for p, r in zip(batch.prompt_ids.tolist(), batch.reply_ids.tolist(), strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        trainer = Tokenized(
            model=model,
            args=DPOConfig(
                output_dir=folder, report_to="none", use_cpu=True, bf16=False,
                gradient_checkpointing=False, beta=0.1, loss_type=["sigmoid", "sft"],
                loss_weights=[1.0, 1.0], precompute_ref_log_probs=precomputed,
                per_device_train_batch_size=len(rows), disable_tqdm=True, max_length=None,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=_tokenizer(),
        )  # fmt: skip
    inputs = next(iter(trainer.get_train_dataloader()))
    trainer.model.train()
    step_away(trainer.model)

    def step() -> Tensor:
        loss: Tensor = trainer.compute_loss(trainer.model, inputs)
        return loss

    return step


def _tokenizer() -> Any:
    """TRL wants one, though the rows are in tokens already."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({"<pad>": 0, "<eos>": 2, "a": 1}, unk_token="a"))
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="<eos>")


def measure(options: argparse.Namespace, prompt: int) -> dict[str, Any]:
    """Median seconds and peak memory of one form; its loss and gradients, to compare."""
    model = network(options.model)
    base = model.get_base_model()
    ranks = options.part in FORMS
    count = options.candidates + 1 if ranks else 2
    contexts = options.contexts if ranks else options.pairs
    batch = batch_of(base.config.vocab_size, contexts, prompt, options.reply, count)
    step: Callable[[], Tensor]
    if ranks:
        step = partial(ranking_step, model, batch, options.part)
    else:
        step = preference_step(model, batch, options.part)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = []
    for _ in range(options.repeats + 1):
        model.zero_grad()
        start = time.perf_counter()
        loss = step()
        loss.backward()
        seconds.append(time.perf_counter() - start)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    gradient = torch.cat([w.grad.flatten() for w in model.parameters() if w.grad is not None])
    torch.save(gradient, options.gradient)
    return {
        "seconds": statistics.median(seconds[1:]),
        "megabytes": (after - before) / 1024,
        "loss": loss.item(),
    }


def alone(options: argparse.Namespace, part: str, prompt: int, gradient: Path) -> dict[str, Any]:
    """One measurement in a process of its own."""
    words = [sys.executable, __file__, "--part", part, "--prompts", str(prompt)]
    words += ["--gradient", str(gradient), "--model", options.model]
    for name in ("reply", "candidates", "contexts", "pairs", "repeats"):
        words += [f"--{name}", str(getattr(options, name))]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{part} at {prompt} tokens failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(options: argparse.Namespace, parts: tuple[str, ...], prompt: int) -> list[Any]:
    """All forms on one prompt length; ratios are to the first."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, part in enumerate(parts):
            file = Path(folder) / str(number)
            row = alone(options, part, prompt, file) | {"form": part, "prompt": prompt}
            first, gradient = torch.load(Path(folder) / "0"), torch.load(file)
            row["gradient_error"] = float((gradient - first).abs().max() / first.abs().max())
            base = rows[0] if rows else row
            row["speedup"] = base["seconds"] / row["seconds"]
            row["memory"] = row["megabytes"] / max(base["megabytes"], 1e-9)
            row["loss_error"] = abs(row["loss"] - base["loss"])
            rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="embedded", help="embedded, a folder, or tiny")
    parser.add_argument("--prompts", type=int, nargs="+", default=[112, 250, 500, 1000])
    parser.add_argument("--reply", type=int, default=32)
    parser.add_argument("--candidates", type=int, default=10)
    parser.add_argument("--contexts", type=int, default=1)
    parser.add_argument("--pairs", type=int, default=4, help="preference pairs in a batch")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--gradient", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(measure(options, options.prompts[0])))
        return
    rows = [row for prompt in options.prompts for row in compare(options, FORMS, prompt)]
    rows += compare(options, PREFERENCE, options.prompts[0])
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    print(
        f"{'form':18} {'prompt':>6} {'seconds':>8} {'speedup':>8} {'MB':>8} {'share':>6} {'gradient':>9}"
        f" {'loss':>8}"
    )
    for row in rows:
        print(
            f"{row['form']:18} {row['prompt']:6} {row['seconds']:8.3f} {row['speedup']:7.2f}x"
            f" {row['megabytes']:8.0f} {row['memory']:6.2f} {row['gradient_error']:9.1e}"
            f" {row['loss_error']:8.1e}"
        )
    print(
        f"goals at 112 tokens: tree {GOAL_SPEED}x and {GOAL_MEMORY} of the memory of repeated rows;"
        f" shared {GOAL_DPO}x TRL"
    )


if __name__ == "__main__":
    main()
