"""A policy of your own in one seat: ten lines, no registration needed.

The supporter here follows rules instead of a model; the other seats keep theirs.

    python examples/custom_policy.py            # the others use the embedded model
    python examples/custom_policy.py scripted   # no model at all
"""

from __future__ import annotations

import sys

import warmline

REPLIES = {
    "Question": "What was the hardest part of that for you?",
    "Reflection of Feelings": "It seems that this left you quite alone with it.",
}


class RuleSupporter:
    """Answers by the strategy that the counselor chose."""

    async def respond(self, request: warmline.Request) -> warmline.Reply:
        strategy = getattr(request.observation, "strategy", None) or "Others"
        text = REPLIES.get(strategy, "I am listening. Please go on.")
        return warmline.Reply(text=text, policy="rules")


def main(policy: str) -> None:
    episodes = warmline.simulate(
        episodes=2, policy=policy, supporter=RuleSupporter(), max_turns=4, seed=3
    )
    for episode in episodes:
        print(episode.scenario.problem_type, episode.stop)
        for utterance in episode.utterances:
            print(f"  {utterance.role}: {utterance.text}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "embedded")
