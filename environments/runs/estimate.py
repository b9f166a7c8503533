"""What a run would take, before it is started: real prompts, stand-in answers, no engine."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...agents.base import Agent
from ...agents.roles import Role
from ...policies.base import Policy, Reply, Request, Sampling, Usage, policy_name
from ...policies.text.tokens import estimated_tokens
from ...policies.thinking.watch import THINKING_TOKENS
from ..dialogue.environment import SupportEnvironment
from ..episodes.episode import Episode
from ..episodes.usage import Price, price_of
from ..scenarios.scenario import Scenario

WORDS_AN_UTTERANCE = 18
"""ServeForEmo's utterances have 17.97 words on average (SweetieChat, Table 1)."""

LONGEST_TOKEN = 2.5
"""Characters of ASCII text that a token has at the least, over longer texts; of others, one."""

MESSAGE_TOKENS = 8
"""What a chat template may add to a message."""

SAMPLE = 40
"""Scenarios that are played through; the result is scaled to all."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run would take if every conversation goes to the turn limit.

    Nothing is taken from a prefix cache; retries and empty answers asked again are not counted.

    Attributes:
        episodes: conversations.
        calls: by role.
        usage: tokens by role if answers have the usual length.
        bound: tokens by role if every answer is as long as `max_tokens` allows; None for a role whose
            prompts or answers have no bound, since a speaker has no `max_tokens`.
        cost: money by role, where a price is known; None otherwise.
        cost_bound: likewise for `bound`.
    """

    episodes: int
    calls: dict[str, int]
    usage: dict[str, Usage]
    bound: dict[str, Usage | None]
    cost: dict[str, float | None]
    cost_bound: dict[str, float | None]


class _UsualPolicy:
    """Answers with words of usual number, and counts tokens by characters."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def respond(self, request: Request) -> Reply:
        text = _choice(request) or "word " * WORDS_AN_UTTERANCE
        prompt = sum(estimated_tokens(message.content) for message in request.messages)
        return Reply(text=text, usage=Usage(prompt, 0, estimated_tokens(text)), policy=self.name)


class _LongPolicy:
    """Answers as long as it may, in one sentence, so that no cap shortens what others read."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bounded = True

    async def respond(self, request: Request) -> Reply:
        limit = request.sampling.max_tokens
        text = _choice(request)
        if text is None:
            self.bounded = self.bounded and limit is not None
            text = "word " * (limit or WORDS_AN_UTTERANCE)  # counted as two tokens each
        answer = (_most_tokens(text) if limit is None else limit) + _thinking_room(request.sampling)
        prompt = sum(MESSAGE_TOKENS + _most_tokens(m.content) for m in request.messages)
        return Reply(text=text, usage=Usage(prompt, 0, answer), policy=self.name)


def _thinking_room(sampling: Sampling) -> int:
    """Tokens of thinking besides those of the answer. A model that thinks unasked is not foreseen."""
    if sampling.thinking == "off":
        return 0
    return sampling.max_thinking_tokens or (THINKING_TOKENS if sampling.thinking else 0)


def _choice(request: Request) -> str | None:
    """The first option: the judger's is NO, so that every conversation goes to its limit."""
    return request.choices[0] if request.choices else None


def _most_tokens(text: str) -> int:
    plain = sum(character.isascii() for character in text)
    return math.ceil(plain / LONGEST_TOKEN) + len(text) - plain


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
    usual, _ = await _rehearse(environment, scenarios, _UsualPolicy)
    most, bounded = await _rehearse(environment, scenarios, _LongPolicy)
    scale = len(scenarios) / len(usual)
    calls: dict[str, int] = {}
    usage: dict[str, Usage] = {}
    bound: dict[str, Usage | None] = {}
    cost: dict[str, float | None] = {}
    cost_bound: dict[str, float | None] = {}
    for role, agent in environment.agents().items():
        calls[role] = round(sum(c.role == role for e in usual for c in e.calls) * scale)
        usage[role] = _spent(usual, role, scale)
        bound[role] = highest = _spent(most, role, scale) if bounded else None
        price = price_of(policy_name(agent.policy), prices or {})
        cost[role] = price.of(usage[role]) if price else None
        cost_bound[role] = price.of(highest) if price and highest else None
    return Estimate(len(scenarios), calls, usage, bound, cost, cost_bound)


async def _rehearse(
    environment: SupportEnvironment,
    scenarios: Sequence[Scenario],
    make: Callable[[str], _UsualPolicy | _LongPolicy],
) -> tuple[list[Episode], bool]:
    """A sample of the episodes with other policies seated; whether all answers had a bound."""
    rehearsal = copy.copy(environment)
    unending = {"stop_on_farewell": False, "token_budget": None, "max_reply_chars": sys.maxsize}
    rehearsal.limits = environment.limits.model_copy(update=unending)
    policies = []
    for role, agent in environment.agents().items():
        policies.append(make(policy_name(agent.policy)))
        setattr(rehearsal, role.value, _with_policy(agent, policies[-1]))
    sample = scenarios[:: max(1, len(scenarios) // SAMPLE)]
    episodes = [await rehearsal.run(scenario) for scenario in sample]
    return episodes, all(getattr(policy, "bounded", True) for policy in policies)


def _spent(episodes: Sequence[Episode], role: Role, scale: float) -> Usage:
    """Tokens of one role over all episodes, scaled up from the sample."""
    made = [c.usage for e in episodes for c in e.calls if c.role == role and c.usage]
    spent = sum(made, Usage())
    return Usage(
        math.ceil(spent.prompt_tokens * scale), 0, math.ceil(spent.completion_tokens * scale)
    )


def _with_policy(agent: Agent[Any, Any], policy: Policy) -> Agent[Any, Any]:
    other = copy.copy(agent)
    other.policy = policy
    return other
