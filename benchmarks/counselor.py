"""Decisions a second: heads, eight labels that share a prefix, and eight separate full prompts.

All three choose for the same turns of scripted conversations, one after the other and several at
once. Heads read what was said; the others the counselor's whole question, so the heads are also
timed on that (`asked`). Quality does not enter: weights of adapter and heads may be random.

    python benchmarks/counselor.py --model embedded --turns 40
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import torch

import warmline
from warmline.agents.roles import STRATEGY_LABELS
from warmline.policies.base import Policy, Request, Sampling, close_policy, open_policy
from warmline.policies.heads.classifier import ClassifierPolicy, DType
from warmline.policies.hf.policy import TransformersPolicy
from warmline.training.counselor.data import HEADS, CounselorTurn, counselor_turns
from warmline.training.counselor.settings import CounselorSettings
from warmline.training.heads.train import headed
from warmline.training.loop.base_model import Base, base_name, load_base
from warmline.training.loop.checkpoint import name_base

GREEDY = Sampling(temperature=0.0)


def scripted_turns(count: int) -> list[CounselorTurn]:
    """Turns of scripted conversations, of all lengths up to 16 utterances."""
    played = warmline.simulate(episodes=1 + count // 6, policy="scripted", max_turns=16)
    return counselor_turns(played)[0][:count]


def save_untrained(base: Base, folder: Path, *, prompt: str) -> Path:
    """A counselor's folder with random weights."""
    settings = CounselorSettings(
        model=base.named, prompt="asked" if prompt == "asked" else "dialogue"
    )
    model = headed(base, settings, HEADS)
    model.save_pretrained(folder)
    name_base(folder, base.named)
    record = {
        "kind": "counselor",
        "heads": HEADS,
        "settings": {"prompt": prompt, "max_tokens": 8192},
    }
    (folder / "checkpoint.json").write_text(json.dumps(record), "utf-8")
    return folder


def request(turn: CounselorTurn) -> Request:
    return Request(turn.messages, choices=STRATEGY_LABELS, sampling=GREEDY, seed=0)


async def decisions(policy: Policy, turns: Sequence[CounselorTurn], together: int) -> float:
    """Decisions a second of an open policy, `together` in flight; the first few are not timed."""

    async def choose(turn: CounselorTurn) -> None:
        await policy.respond(request(turn))

    return await rate(choose, turns, together)


async def rate(
    work: Callable[[CounselorTurn], Awaitable[None]], turns: Sequence[CounselorTurn], together: int
) -> float:
    gate = asyncio.Semaphore(together)

    async def gated(turn: CounselorTurn) -> None:
        async with gate:
            await work(turn)

    await asyncio.gather(*map(gated, turns[:2]))
    began = time.perf_counter()
    await asyncio.gather(*map(gated, turns))
    return len(turns) / (time.perf_counter() - began)


async def measured(policy: Policy, turns: Sequence[CounselorTurn], together: int) -> float:
    await open_policy(policy)
    try:
        return await decisions(policy, turns, together)
    finally:
        await close_policy(policy)


async def separate(
    base: Base, turns: Sequence[CounselorTurn], together: int, dtype: torch.dtype
) -> float:
    """Each label behind its own full prompt, one pass for all eight of a turn: nothing is shared."""
    from warmline.policies.heads.network import padded
    from warmline.policies.models.prompts import PromptWriter

    model = base.model.to(dtype)
    writer = PromptWriter(base.tokenizer, model.config, model.generation_config)

    def choose(turn: CounselorTurn) -> int:
        text = writer.render(turn.messages, answer=True)
        prompt = len(writer.encode(text))
        rows = [writer.encode(text + label) for label in STRATEGY_LABELS]
        batch = padded(rows, base.tokenizer.pad_token_id or 0)
        longest = max(map(len, rows)) - prompt + 1
        with torch.inference_mode():
            logits = model(**batch, logits_to_keep=longest + 1).logits.float().log_softmax(-1)
        ids = batch["input_ids"][:, -longest:]
        found = logits[:, :-1].gather(-1, ids[..., None])[..., 0]
        sums = [found[n, longest - (len(row) - prompt) :].sum() for n, row in enumerate(rows)]
        return int(torch.stack(sums).argmax())

    async def work(turn: CounselorTurn) -> None:
        choose(turn)

    return await rate(work, turns, together)


async def run(model: str, count: int, dtype: DType, threads: int) -> dict[str, dict[str, float]]:
    """Decisions a second by way of asking and number in flight."""
    turns = scripted_turns(count)
    torch.set_num_threads(threads)
    table: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for prompt in ("dialogue", "asked"):
            save_untrained(load_base(model), Path(folder) / prompt, prompt=prompt)
        for together in (1, 16):
            key = str(together)
            for prompt in ("dialogue", "asked"):
                heads = ClassifierPolicy(
                    Path(folder) / prompt,
                    device="cpu",
                    dtype=dtype,
                    threads=threads,
                )
                name = "head" if prompt == "dialogue" else "head, whole question"
                table.setdefault(name, {})[key] = await measured(heads, turns, together)
            labels = TransformersPolicy(
                base_name(model),
                device="cpu",
                dtype=dtype,
                threads=threads,
            )
            shared = await measured(labels, turns, together)
            table.setdefault("labels, shared prefix", {})[key] = shared
            table.setdefault("labels, separate prompts", {})[key] = await separate(
                load_base(model), turns, together, getattr(torch, dtype)
            )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    table = asyncio.run(run(given.model, given.turns, given.dtype, given.threads))
    print(f"{given.model}, {given.dtype}, {given.threads} thread(s), {given.turns} turns")
    slowest = table["labels, separate prompts"]
    for name, rates in table.items():
        told = ", ".join(
            f"{value:.2f}/s with {key} in flight ({value / slowest[key]:.1f}x)"
            for key, value in rates.items()
        )
        print(f"{name}: {told}")


if __name__ == "__main__":
    main()
