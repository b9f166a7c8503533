"""vLLM in this process: one engine, a base model in the seeker's seat and an adapter in the supporter's.

usage: python examples/vllm_engine.py MODEL [ADAPTER]

Needs `pip install 'warmline[vllm]'`, and a GPU or vLLM's build for CPUs (docs/vllm.md).
"""

from __future__ import annotations

import os
import sys
from typing import Any

import warmline


def main(model: str, adapter: str | None) -> None:
    engine: dict[str, Any] = {
        "max_model_len": int(os.environ.get("MAX_MODEL_LEN", "4096")),
        "enforce_eager": "EAGER" in os.environ,
    }
    base = warmline.make_policy("vllm", model=model, **engine)
    supporter = base
    if adapter is not None:  # both share the engine that the first one starts
        supporter = warmline.make_policy("vllm", model=model, adapter=adapter, **engine)
    episodes = warmline.simulate(
        policy=base, supporter=supporter, episodes=4, max_turns=6, case_dialogues=0, seed=1
    )
    for episode in episodes:
        tokens = episode.usage
        print(episode.id, episode.stop, f"{tokens.cached_tokens} of {tokens.prompt_tokens} cached")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)
