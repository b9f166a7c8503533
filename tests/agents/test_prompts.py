"""What each role's policy is asked: pure, well-formed chats that hold only what the role may know."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warmline import (
    Judger,
    Sampling,
    ScriptedPolicy,
    Seeker,
    Strategy,
    StrategyCounselor,
    Supporter,
)
from warmline.agents import (
    STRATEGY_LABELS,
    Case,
    CaseTurn,
    CounselorObservation,
    JudgerObservation,
    Role,
    SeekerBrief,
    SeekerObservation,
    SupporterBrief,
    SupporterObservation,
    Turn,
)
from warmline.agents.base import Agent
from warmline.core.errors import ConfigError
from warmline.policies.base import Request

SEEKER_BRIEF = SeekerBrief("Job Crisis", "The bakery closed on Monday.", "Ada, 44, baker")
CASE = Case(
    "Burnout",
    (CaseTurn(Role.SEEKER, "I am so tired."),
     CaseTurn(Role.SUPPORTER, "Since when?", Strategy.QUESTION)),
)  # fmt: skip
SUPPORTER_BRIEF = SupporterBrief("Job Crisis", (CASE,))
POLICY = ScriptedPolicy()
AGENTS: dict[Role, Agent[Any, Any]] = {
    Role.SEEKER: Seeker(POLICY),
    Role.COUNSELOR: StrategyCounselor(POLICY),
    Role.SUPPORTER: Supporter(POLICY),
    Role.JUDGER: Judger(POLICY),
}


def dialogue(length: int) -> tuple[Turn, ...]:
    """Alternating utterances, the seeker first."""
    roles = (Role.SEEKER, Role.SUPPORTER)
    return tuple(Turn(roles[n % 2], f"Line {n}.") for n in range(length))


def observation(role: Role, history: tuple[Turn, ...], strategy: Strategy | None = None) -> Any:
    turn = len(history) // 2
    return {
        Role.SEEKER: SeekerObservation(SEEKER_BRIEF, history, turn),
        Role.COUNSELOR: CounselorObservation(history, turn),
        Role.SUPPORTER: SupporterObservation(SUPPORTER_BRIEF, history, strategy, turn),
        Role.JUDGER: JudgerObservation(history, turn),
    }[role]


def asked(role: Role, history: tuple[Turn, ...], strategy: Strategy | None = None) -> Request:
    return AGENTS[role].request(observation(role, history, strategy), seed=7, max_sentences=3)


def text(request: Request) -> str:
    return "\n".join(message.content for message in request.messages)


ANY_DIALOGUE = st.lists(
    st.builds(Turn, st.sampled_from([Role.SEEKER, Role.SUPPORTER]), st.text(min_size=1, max_size=20)),
    max_size=9,
).map(tuple)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(Role), ANY_DIALOGUE, st.sampled_from([None, *Strategy]))
def test_prompts_alternate_and_the_last_message_is_the_users(
    role: Role, history: tuple[Turn, ...], strategy: Strategy | None
) -> None:
    messages = asked(role, history, strategy).messages
    assert messages[0].role == "system"
    assert [message.role for message in messages[1:]] == ["user", "assistant"] * (
        len(messages) // 2 - 1
    ) + ["user"]
    assert all(message.content for message in messages)
    for turn in history:
        assert turn.text in text(asked(role, history))


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(Role), st.integers(0, 12), st.integers(1, 9))
def test_every_window_of_a_dialogue_gives_a_chat(role: Role, length: int, window: int) -> None:
    history = dialogue(length)[-window:]
    messages = asked(role, history).messages
    assert [m.role for m in messages[1:3]] in (["user"], ["user", "assistant"])
    assert messages[-1].role == "user"
    own = [
        t.text
        for t in history
        if t.role is (Role.SEEKER if role is Role.SEEKER else Role.SUPPORTER)
    ]
    assert [m.content for m in messages if m.role == "assistant"] == own


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(Role), ANY_DIALOGUE)
def test_requests_are_pure(role: Role, history: tuple[Turn, ...]) -> None:
    fresh = type(AGENTS[role])(ScriptedPolicy())
    again = fresh.request(observation(role, history), seed=7, max_sentences=3)
    assert again == asked(role, history) == asked(role, history)


@pytest.mark.parametrize("role", Role)
def test_the_system_message_never_changes_during_an_episode(role: Role) -> None:
    systems = {
        asked(role, dialogue(length), strategy).messages[0]
        for length in range(8)
        for strategy in (None, *Strategy)
    }
    assert len(systems) == 1


@pytest.mark.parametrize("role", [Role.COUNSELOR, Role.JUDGER])
def test_the_advisers_prompts_grow_at_the_end_only(role: Role) -> None:
    earlier, later = asked(role, dialogue(3)).messages, asked(role, dialogue(5)).messages
    assert earlier[:-1] == later[: len(earlier) - 1]


def test_the_seekers_first_prompt() -> None:
    request = asked(Role.SEEKER, ())
    system, opening = request.messages
    for part in ("Job Crisis", "The bakery closed on Monday.", "Ada, 44, baker", "at most 3"):
        assert part in system.content
    assert opening.content == "(The supporter is here and listening. Begin.)"
    assert (request.role, request.seed, request.max_sentences) == ("seeker", 7, 3)
    assert request.choices is None


def test_what_the_seeker_and_the_supporter_hear_of_each_other() -> None:
    seeker = asked(Role.SEEKER, dialogue(4)).messages
    assert [m.content for m in seeker[2:]] == ["Line 0.", "Line 1.", "Line 2.", "Line 3."]
    assert seeker[-1].role == "user"
    supporter = asked(Role.SUPPORTER, dialogue(3)).messages
    assert [m.content for m in supporter[1:]] == ["Line 0.", "Line 1.", "Line 2."]


def test_a_window_that_begins_with_an_own_utterance_says_so() -> None:
    for role, history in ((Role.SEEKER, dialogue(8)[-4:]), (Role.SUPPORTER, dialogue(7)[-4:])):
        assert (
            asked(role, history).messages[1].content
            == "(Earlier part of the conversation left out.)"
        )


def test_the_supporter_sees_cases_with_their_strategies() -> None:
    system = asked(Role.SUPPORTER, dialogue(1)).messages[0].content
    assert "Person: I am so tired." in system
    assert "You (Question): Since when?" in system
    assert "Ada" not in system


@pytest.mark.parametrize("strategy", Strategy)
def test_the_advice_joins_the_last_message_of_the_supporter_alone(strategy: Strategy) -> None:
    with_advice = asked(Role.SUPPORTER, dialogue(3), strategy).messages
    without = asked(Role.SUPPORTER, dialogue(3)).messages
    assert with_advice[:-1] == without[:-1]
    assert with_advice[-1].content.startswith("Line 2.\n\n")
    assert strategy.value in with_advice[-1].content
    assert strategy.definition in with_advice[-1].content
    for role in (Role.SEEKER, Role.JUDGER):
        assert strategy.definition not in text(asked(role, dialogue(3), strategy))


def test_advisers_choose_from_a_list() -> None:
    assert asked(Role.COUNSELOR, dialogue(1)).choices == STRATEGY_LABELS
    assert asked(Role.JUDGER, dialogue(2)).choices == ("NO", "YES")
    system = asked(Role.COUNSELOR, dialogue(1)).messages[0].content
    assert all(strategy.value in system and strategy.definition in system for strategy in Strategy)


def test_sampling_goes_over_the_roles_default() -> None:
    seeker = Seeker(POLICY, sampling=Sampling(temperature=0.0, top_k=4))
    assert seeker.sampling == Sampling(temperature=0.0, top_p=0.9, top_k=4, max_tokens=120)
    assert asked(Role.JUDGER, ()).sampling == Judger.default_sampling


def test_openings_are_seeded_and_off_by_default() -> None:
    assert asked(Role.SUPPORTER, dialogue(1), Strategy.QUESTION).prefill == ""
    agent = Supporter(POLICY, openings=True)
    seen = observation(Role.SUPPORTER, dialogue(1), Strategy.QUESTION)
    drawn = [agent.request(seen, seed=seed).prefill for seed in range(20)]
    assert drawn == [agent.request(seen, seed=seed).prefill for seed in range(20)]
    assert len(set(drawn)) > 1
    unadvised = observation(Role.SUPPORTER, dialogue(1))
    assert agent.request(unadvised, seed=1).prefill == ""


def test_an_agent_needs_a_policy() -> None:
    with pytest.raises(ConfigError, match=r"Seeker needs a policy, not str\n.*make_policy"):
        Seeker("openai")


def test_templates_sampling_and_policy_are_an_agents_identity() -> None:
    plain = Supporter(POLICY).describe()
    assert plain == Supporter(ScriptedPolicy()).describe()
    extended = '{% extends "supporter.jinja" %}{% block note %}Be brief.{% endblock %}'
    for other in (
        Supporter(POLICY, template=extended),
        Supporter(POLICY, sampling=Sampling(temperature=0.1)),
        Supporter(POLICY, openings=True),
        Supporter(ScriptedPolicy(["a"])),
    ):
        assert other.describe() != plain
