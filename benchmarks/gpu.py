"""The checks that need an accelerator, in one command; `make gpu-check` runs them.

The policy contract on the device, then the `transformers` policy with a model of random weights (none
need be fetched) beside transformers' own `generate`, with the share of time in which the device was
busy. Needs torch, transformers and peft only. On a CPU it runs too, with a small model, to see that
it works.

    python benchmarks/gpu.py [--billions 1.0] [--conversations 64] [--turns 4]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch

import warmline.testing
from warmline.policies.base import Message, Request, Sampling
from warmline.policies.hf.policy import TransformersPolicy

GOAL_RATIO, GOAL_BUSY = 0.9, 0.9
SENTENCE = "the rain fell on our street while my brother packed his things and nobody said a word"
WORDS = SENTENCE.split()


class BusyShare:
    """Samples how busy the device is, five times a second; None where nothing can tell."""

    def __init__(self) -> None:
        self.samples: list[float] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        if shutil.which("nvidia-smi"):
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    @property
    def share(self) -> float | None:
        return sum(self.samples) / len(self.samples) / 100 if self.samples else None

    def _watch(self) -> None:
        query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not self._end.wait(0.2):
            said = subprocess.run(query, capture_output=True, text=True, check=True).stdout
            self.samples.append(float(said.split("\n")[0]))


def save_random(folder: Path, billions: float) -> Path:
    """A Llama of random weights in bfloat16 with about so many parameters, and a byte tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|im_start|>", "<|im_end|>", "<pad>"]
    vocabulary = {token: number for number, token in enumerate([*alphabet, *special])}
    raw = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<pad>", model_max_length=8192
    )
    tokenizer.chat_template = (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
        "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    layers = 16 if billions >= 0.5 else 4
    hidden = 128 * max(2, round((billions * 1e9 / layers / 11.5) ** 0.5 / 128))
    heads = hidden // 64
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=int(hidden * 2.75),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2 if heads % 2 == 0 else heads,
        max_position_embeddings=8192,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.generation_config.eos_token_id = None  # random weights must not end answers by chance
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


async def contract(folder: Path) -> dict[str, str]:
    """Each check of the policy contract: kept, not promised, or how it failed."""
    results = {}
    for check in warmline.testing.POLICY_CHECKS:
        try:
            await warmline.testing.check_policy(lambda: TransformersPolicy(folder), check)
            results[check] = "kept"
        except warmline.testing.NotApplicable as reason:
            results[check] = f"not promised: {reason}"
        except AssertionError as error:
            results[check] = f"FAILED: {error}"
    return results


def prompt(number: int, turn: int) -> tuple[Message, ...]:
    """A dialogue that grows by two utterances a turn, one system message for all."""
    messages = [Message("system", " ".join(WORDS * 6))]
    for step in range(turn + 1):
        messages.append(Message("user", f"{number} {step} " + " ".join(WORDS)))
        if step < turn:
            messages.append(Message("assistant", " ".join(WORDS)))
    return tuple(messages)


async def ours(folder: Path, conversations: int, turns: int, tokens: int) -> dict[str, Any]:
    """Conversations side by side, each turn behind the one before."""
    sampling = Sampling(temperature=0.8, max_tokens=tokens)
    async with TransformersPolicy(folder, max_batch=conversations) as policy:
        await policy.respond(Request(prompt(0, 0), sampling=sampling))  # warm up

        async def converse(number: int) -> list[Any]:
            return [
                await policy.respond(Request(prompt(number, turn), sampling=sampling, seed=number))
                for turn in range(turns)
            ]

        with BusyShare() as busy:
            started = time.perf_counter()
            talks = await asyncio.gather(*(converse(number) for number in range(conversations)))
            seconds = time.perf_counter() - started
    usages = [reply.usage for talk in talks for reply in talk]
    return {
        "tokens_a_second": sum(usage.completion_tokens for usage in usages) / seconds,
        "prefix_cache_hits": sum(usage.cached_tokens for usage in usages)
        / sum(usage.prompt_tokens for usage in usages),
        "device_busy": busy.share,
    }


def raw(folder: Path, conversations: int, turns: int, tokens: int) -> dict[str, Any]:
    """`generate` in static batches over the same prompts."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).to(device)

    def write(batch: list[tuple[Message, ...]], length: int) -> None:
        texts = [
            tokenizer.apply_chat_template(
                [{"role": m.role, "content": m.content} for m in messages],
                tokenize=False,
                add_generation_prompt=True,
            )
            for messages in batch
        ]
        inputs = tokenizer(texts, return_tensors="pt", padding=True).to(device)
        inputs.pop("token_type_ids", None)
        with torch.inference_mode():
            model.generate(
                **inputs, max_new_tokens=length, min_new_tokens=length, do_sample=True, top_k=0
            )

    write([prompt(0, 0)], 8)  # warm up
    with BusyShare() as busy:
        started = time.perf_counter()
        for turn in range(turns):
            write([prompt(number, turn) for number in range(conversations)], tokens)
        seconds = time.perf_counter() - started
    return {
        "tokens_a_second": conversations * turns * tokens / seconds,
        "device_busy": busy.share,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    on_gpu = torch.cuda.is_available()
    parser.add_argument("--billions", type=float, default=1.0 if on_gpu else 0.002)
    parser.add_argument("--conversations", type=int, default=64 if on_gpu else 8)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=96 if on_gpu else 16)
    given = parser.parse_args()
    load = given.conversations, given.turns, given.tokens
    device = torch.cuda.get_device_name() if on_gpu else "CPU"
    versions = {name: version(name) for name in ("torch", "transformers", "peft")}
    print(json.dumps({"device": device, **versions}), flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        small = save_random(Path(scratch) / "small", 0.002)
        print(json.dumps({"contract": asyncio.run(contract(small))}), flush=True)
        large = save_random(Path(scratch) / "large", given.billions)
        mine = asyncio.run(ours(large, *load))
        print(json.dumps({"ours": mine}), flush=True)
        theirs = raw(large, *load)
        ratio = mine["tokens_a_second"] / theirs["tokens_a_second"]
        print(json.dumps({"generate": theirs, "ratio": round(ratio, 3)}), flush=True)


if __name__ == "__main__":
    main()
