"""Private stays private: every prompt of whole episodes is searched for what its role must not know."""

from __future__ import annotations

import re

import pytest

import warmline
from warmline.agents import Strategy
from warmline.environments import CasePool, seed_dialogues, seed_scenarios

SECRET = "zqx-situation-secret"
PROFILE = "zqx-profile-secret"
EPISODE_TURNS = 8


def talk() -> warmline.ScriptedPolicy:
    """Everyone says harmless lines; the counselor goes through all strategies."""
    return warmline.ScriptedPolicy(
        seeker=[f"It is hard, part {n}." for n in range(9)],
        counselor=[strategy.value for strategy in Strategy],
        supporter=[f"I hear you, part {n}." for n in range(9)],
        judger=["NO"],
    )


def marked(scenario: warmline.Scenario) -> warmline.Scenario:
    """The scenario with a secret in its situation and one in its profile."""
    return scenario.model_copy(
        update={
            "situation": f"{scenario.situation} {SECRET}.",
            "profile": f"{scenario.profile}, {PROFILE}",
        }
    )


async def prompts(
    scenario: warmline.Scenario, *, cases: CasePool | None = None
) -> dict[str, list[str]]:
    """All prompts of one episode by role, rendered from its record."""
    policy = talk()
    environment = warmline.SupportEnvironment(
        seeker=policy, counselor=policy, supporter=policy, judger=policy,
        max_turns=EPISODE_TURNS * 2, cases=cases,
    )  # fmt: skip
    episode = await environment.run(scenario, seed=1)
    assert len(episode.calls) == EPISODE_TURNS * 4
    by_role: dict[str, list[str]] = {}
    for call in episode.calls:
        text = "\n".join(message.content for message in episode.call_messages(call))
        by_role.setdefault(call.role, []).append(text)
    return by_role


def sentences(text: str) -> list[str]:
    return [part for part in re.split(r"(?<=[.!?])\s+", text) if len(part) > 12]


def some_scenarios() -> list[warmline.Scenario]:
    return list(seed_scenarios()[::9])


@pytest.mark.parametrize("scenario", some_scenarios(), ids=lambda scenario: scenario.id)
async def test_what_the_seeker_knows_reaches_no_other_role(scenario: warmline.Scenario) -> None:
    seen = await prompts(marked(scenario))
    secrets = [SECRET, PROFILE, str(scenario.profile), *sentences(scenario.situation)]
    assert all(secret in prompt for secret in secrets for prompt in seen["seeker"])
    for role in ("counselor", "supporter", "judger"):
        for prompt in seen[role]:
            assert not [secret for secret in secrets if secret in prompt]


@pytest.mark.parametrize("scenario", some_scenarios()[:4], ids=lambda scenario: scenario.id)
async def test_advice_reaches_the_supporter_alone(scenario: warmline.Scenario) -> None:
    seen = await prompts(scenario, cases=CasePool([]))
    for prompt, strategy in zip(seen["supporter"], Strategy, strict=True):
        assert f"your next answer should be {strategy.value}" in prompt
        others = [s for s in Strategy if s is not strategy]
        assert not [s for s in others if s.definition in prompt]
    advice = [s.definition for s in Strategy] + [
        s.value for s in Strategy if s not in (Strategy.QUESTION, Strategy.INFORMATION)
    ]
    for role in ("seeker", "judger"):
        for prompt in seen[role]:
            assert not [words for words in advice if words in prompt]
            assert "your next answer should be" not in prompt
    for before, prompt in zip(Strategy, seen["counselor"][1:], strict=False):
        assert f"should be {before.value}" not in prompt


@pytest.mark.parametrize("number", [1, 2])
def test_no_case_of_the_played_scenario_is_shown(number: int) -> None:
    """A case made from the scenario would tell the supporter what only the seeker knows."""
    pool = CasePool()
    by_scenario: dict[str, list[object]] = {}
    for dialogue in seed_dialogues():
        by_scenario.setdefault(dialogue.scenario, []).append(dialogue.as_case().turns)
    assert by_scenario.keys() & {scenario.id for scenario in seed_scenarios()}
    for scenario in seed_scenarios():
        played = scenario.sample(number)
        drawn = pool.draw(played.problem_type, 50, scenario_id=played.id)
        assert drawn
        shown = [case.turns for case in drawn]
        assert not [turns for turns in by_scenario.get(scenario.id, []) if turns in shown]


async def test_a_later_sample_of_a_scenario_keeps_its_cases_away_too() -> None:
    dialogue = seed_dialogues()[0]
    scenario = next(s for s in seed_scenarios() if s.id == dialogue.scenario)
    first_words = dialogue.turns[0].text
    for played in (scenario, scenario.sample(2)):
        seen = await prompts(played)
        assert "Example 1" in seen["supporter"][0]
        assert not any(first_words in prompt for prompt in seen["supporter"])
    other = next(s for s in seed_scenarios()
                 if s.problem_type == scenario.problem_type and s.id != scenario.id)  # fmt: skip
    assert any(
        first_words in p for p in (await prompts(other, cases=CasePool([dialogue])))["supporter"]
    )
