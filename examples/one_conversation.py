"""One conversation, built by hand: seats, environment, scenario, record.

python examples/one_conversation.py            # the embedded model
python examples/one_conversation.py scripted   # no model at all
"""

from __future__ import annotations

import asyncio
import sys

import warmline


async def main(policy_name: str) -> None:
    policy = warmline.make_policy(policy_name)
    environment = warmline.SupportEnvironment(
        seeker=warmline.Seeker(policy),
        counselor=warmline.StrategyCounselor(policy),
        supporter=warmline.Supporter(policy),
        judger=warmline.Judger(policy),
        max_turns=6,
        max_sentences=3,
        case_dialogues=1,
    )
    scenario = warmline.Scenario(
        id="night-train",
        problem_type="Life Transitions",
        situation=(
            "Last week Iris sold the flat she grew up in and took the night train to a city where"
            " she knows one person. Her boxes arrive on Thursday, and she has not unpacked a cup."
        ),
        profile="Iris, 58, retired bookbinder, talks to her plants, dislikes being hurried",
    )
    async with environment:
        episode = await environment.run(scenario, seed=7)
    print(episode.transcript())
    print(f"ended: {episode.stop}, {episode.usage.total_tokens} tokens")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "embedded"))
