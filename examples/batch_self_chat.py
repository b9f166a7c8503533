"""Many conversations of a model with itself, into one folder; the same command goes on after a stop.

usage: python examples/batch_self_chat.py OUT COUNT [POLICY]

The policy is `embedded` by default; `scripted` needs no model at all.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import warmline


def main(out: Path, count: int, policy: str) -> None:
    episodes = warmline.simulate(
        policy=policy, episodes=count, out=out, seed=1, max_turns=8, case_dialogues=0
    )
    print(f"{len(episodes)} conversations in {out}")
    # an Episodes reads a record when it is asked for, so a million of them need little memory
    print("ended:", dict(Counter(str(episode.stop) for episode in episodes)))
    types = Counter(episode.scenario.problem_type for episode in episodes)
    print("most frequent:", types.most_common(3))
    failed = [episode.id for episode in episodes if episode.error is not None]
    again = f"warmline simulate --config {out}/config.toml --retry-failed"
    print(f"{len(failed)} failed; `{again}` would play them again")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "embedded")
