"""One run by several workers on Ray: a cluster's, or this machine's where none is running.

usage: python examples/on_ray.py OUT COUNT POLICY

    python examples/on_ray.py runs/ray 200 scripted
    RAY_ADDRESS=ray://head:10001 python examples/on_ray.py runs/ray 20000 module:make_policy

Needs `pip install 'warmline[ray]'`. The folder must be one that all nodes see. The same command goes
on after a stop, on Ray or off it, with any number of workers.
"""

from __future__ import annotations

import sys
from pathlib import Path

import warmline


def main(out: Path, count: int, policy: str) -> None:
    episodes = warmline.run_sharded(
        {"policy": policy, "episodes": count, "max_turns": 8, "case_dialogues": 0, "seed": 1},
        out=out,
        workers=2,
        on="ray",
    )
    logs = sorted(path.name for path in out.glob("episodes*.jsonl"))
    print(f"{len(episodes)} conversations in {', '.join(logs)}")


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
