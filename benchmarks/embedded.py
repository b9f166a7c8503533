"""Tokens a second of a batch of conversations on the embedded engine, beside the engine alone.

The same prompts, straight to llama.cpp with every slot busy, in the same run; goal: 0.9 of it.

    python benchmarks/embedded.py [--episodes 16]
"""

from __future__ import annotations

import argparse
import asyncio

from engines import Load, measure

GOAL = 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--episodes", type=int, default=16)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=48)
    given = parser.parse_args()
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
