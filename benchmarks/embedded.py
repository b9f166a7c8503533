"""Tokens a second of a batch of conversations on the embedded engine, beside the engine alone.

The same prompts, straight to llama.cpp with every slot busy, in the same run; goal: 0.9 of it.

    python benchmarks/embedded.py [--episodes 16]
    python benchmarks/embedded.py --adapter       # one answer at a time, with the adapter and without
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections import Counter

from engines import Load, measure

from warmline.policies.base import Message, Request, Sampling
from warmline.policies.llama.policy import EmbeddedPolicy

GOAL = 0.9
ASKED = "I lost my job last week and I do not know how to tell my wife. What should I do? " * 3
ROUNDS = ("none", "shipped", "shipped", "none")
ANSWERS = 8
TOKENS = 40


async def tokens_a_second(adapter: str) -> tuple[int, float]:
    """Tokens of some answers to one prompt, one after the other on one thread, and their seconds."""
    messages = (Message("user", ASKED),)
    policy = EmbeddedPolicy(adapter=adapter, slots=1, threads=1, context_tokens=1024)  # type: ignore[arg-type]
    async with policy:
        first = Request(messages, seed=0, sampling=Sampling(max_tokens=4))
        await policy.respond(first)
        written, began = 0, time.perf_counter()
        for seed in range(ANSWERS):
            sampling = Sampling(max_tokens=TOKENS)
            reply = await policy.respond(Request(messages, seed=seed, sampling=sampling))
            written += reply.usage.completion_tokens if reply.usage else 0
        return written, time.perf_counter() - began


def with_and_without() -> None:
    """Both ways twice, in turns, so that a slower minute falls on both."""
    written: Counter[str] = Counter()
    seconds = dict.fromkeys(ROUNDS, 0.0)
    for adapter in ROUNDS:
        count, took = asyncio.run(tokens_a_second(adapter))
        written[adapter] += count
        seconds[adapter] += took
    rates = {name: written[name] / seconds[name] for name in written}
    print(f"with the adapter {rates['shipped']:6.1f} tokens/s, {written['shipped']} tokens")
    print(f"without          {rates['none']:6.1f} tokens/s, {written['none']} tokens")
    print(f"ratio            {rates['shipped'] / rates['none']:6.2f} (goal: not below 1)")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--episodes", type=int, default=16)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--adapter", action="store_true", help="with the adapter and without")
    given = parser.parse_args()
    if given.adapter:
        with_and_without()
        return
    load = Load(given.episodes, given.turns, given.tokens)
    result = asyncio.run(measure("embedded", load, baselines=False))
    ours = result["ours"]
    print(f"conversations  {ours['tokens_a_second']:7.1f} tokens/s")
    print(f"engine alone   {result['raw_tokens_a_second']:7.1f} tokens/s")
    print(f"ratio          {result['ratio']:7.2f} (goal: at least {GOAL})")
    print(f"prefix cache   {ours['prefix_cache_hits']:7.0%} of prompt tokens")
    print(f"our own thread {ours['own_thread_share']:7.1%} of the time")


if __name__ == "__main__":
    main()
