"""What a run would take, before it is started: real prompts, answers of usual length, no engine."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...agents.base import Agent
from ...policies.base import Reply, Request, Usage, policy_name
from ..dialogue.environment import SupportEnvironment
from ..episodes.usage import Price, price_of
from ..scenarios.scenario import Scenario

WORDS_AN_UTTERANCE = 18
"""ServeForEmo's utterances have 17.97 words on average (SweetieChat, Table 1)."""

CHARACTERS_A_TOKEN = 4
"""Usual for English and the tokenizers of current models; Chinese is nearer to 1.5."""

SAMPLE = 40
"""Scenarios that are played through; the result is scaled to all."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Upper bounds: every conversation goes to the turn limit, no prefix cache, no retry.

    Attributes:
        episodes: conversations.
        calls: by role.
        usage: tokens by role.
        cost: money by role, where a price is known; None otherwise.
    """

    episodes: int
    calls: dict[str, int]
    usage: dict[str, Usage]
    cost: dict[str, float | None]


class _TypicalPolicy:
    """Answers with words of usual number, and counts tokens by characters."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def respond(self, request: Request) -> Reply:
        # the judger's first option is NO, so every conversation goes to its limit
        text = request.choices[0] if request.choices else "word " * WORDS_AN_UTTERANCE
        prompt = sum(len(message.content) for message in request.messages)
        usage = Usage(prompt // CHARACTERS_A_TOKEN, 0, max(1, len(text) // CHARACTERS_A_TOKEN))
        return Reply(text=text, usage=usage, policy=self.name)


async def estimate(
    environment: SupportEnvironment,
    scenarios: Sequence[Scenario],
    *,
    prices: Mapping[str, Price] | None = None,
) -> Estimate:
    """Estimate a run of `environment` over `scenarios`. No policy is opened or asked.

    Args:
        prices: as in `account`.
    """
    rehearsal = copy.copy(environment)
    for role, agent in environment.agents().items():
        setattr(
            rehearsal, role.value, _with_policy(agent, _TypicalPolicy(policy_name(agent.policy)))
        )
    step = max(1, len(scenarios) // SAMPLE)
    sample = scenarios[::step]
    episodes = [await rehearsal.run(scenario) for scenario in sample]
    scale = len(scenarios) / len(episodes)
    calls: dict[str, int] = {}
    usage: dict[str, Usage] = {}
    cost: dict[str, float | None] = {}
    for role, agent in environment.agents().items():
        made = [c for e in episodes for c in e.calls if c.role == role]
        calls[role.value] = round(len(made) * scale)
        spent = sum((c.usage for c in made if c.usage), Usage())
        usage[role.value] = Usage(
            round(spent.prompt_tokens * scale), 0, round(spent.completion_tokens * scale)
        )
        price = price_of(policy_name(agent.policy), prices or {})
        cost[role.value] = price.of(usage[role.value]) if price else None
    return Estimate(len(scenarios), calls, usage, cost)


def _with_policy(agent: Agent[Any, Any], policy: _TypicalPolicy) -> Agent[Any, Any]:
    other = copy.copy(agent)
    other.policy = policy
    return other
