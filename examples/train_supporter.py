"""Simulate conversations, train a supporter on them, and seat it: the loop in thirty lines.

A few steps on a few conversations: this shows that the parts fit, not that anything was learned.

    python examples/train_supporter.py [model]   # the embedded model's weights by default

Needs `pip install 'warmline[train]'`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import warmline
from warmline.training import SftSettings, train_sft


def main(model: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        runs = Path(scratch)
        warmline.simulate(
            policy="scripted", episodes=3, max_turns=4, case_dialogues=0, out=runs / "talks", seed=1
        )
        checkpoint = train_sft(
            SftSettings(
                model=model,
                data=(str(runs / "talks"),),
                out=str(runs / "m0"),
                batch_size=1,
                max_steps=2,
            )
        ).checkpoint
        print(f"trained {checkpoint.metrics['steps']:.0f} steps on {checkpoint.rows['train']} rows")
        (episode,) = warmline.simulate(
            policy="scripted",
            supporter={"policy": "transformers", "model": str(runs / "m0"), "max_tokens": 24},
            episodes=1,
            max_turns=2,
            case_dialogues=0,
        )
        spoken = episode.calls[episode.utterances[-1].call or 0]
        print(f"seated: {spoken.policy} ended by {episode.stop}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "embedded")
