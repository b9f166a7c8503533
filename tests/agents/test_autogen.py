"""AutoGen both ways: our agents in its teams, its agents in our seats, our environment as a team."""

from __future__ import annotations

import asyncio
import io
from contextlib import redirect_stdout
from typing import Any

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.base import TaskResult
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.messages import TextMessage
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_agentchat.ui import Console
from autogen_core import CancellationToken
from autogen_core.models import CreateResult
from autogen_ext.models.replay import ReplayChatCompletionClient

import warmline
from warmline.agents import Role, SeekerBrief, SupporterBrief
from warmline.agents.autogen_seat import AutogenAgentPolicy
from warmline.core.errors import EngineUnavailable
from warmline.policies.base import Message, Request


def scenario(name: str = "s1") -> warmline.Scenario:
    return warmline.Scenario(
        id=name, problem_type="Job Crisis", situation="The bakery closed on Monday."
    )


def script(**lines: list[str]) -> warmline.ScriptedPolicy:
    talk = {
        "seeker": ["I lost my job.", "It was the only bakery."],
        "counselor": ["Reflection of Feelings"],
        "supporter": ["You miss it.", "What now?"],
        "judger": ["NO"],
    }
    return warmline.ScriptedPolicy({**talk, **lines})


class SlowClient(ReplayChatCompletionClient):
    """Takes a moment, so that calls overlap; notes how many were under way at most."""

    under_way, most = 0, 0

    async def create(self, *args: Any, **kwargs: Any) -> CreateResult:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        await asyncio.sleep(0.002)
        self.under_way -= 1
        return await super().create(*args, **kwargs)


def assistant(*answers: str) -> AssistantAgent:
    return AssistantAgent("listener", model_client=ReplayChatCompletionClient(list(answers)))


# Our agents in an AutoGen team


def team(policy: warmline.ScriptedPolicy, messages: int) -> RoundRobinGroupChat:
    return RoundRobinGroupChat(
        [
            warmline.Seeker(policy, brief=SeekerBrief("Job Crisis", "The mill burnt.", "")),
            warmline.StrategyCounselor(policy),
            warmline.Supporter(policy, brief=SupporterBrief("Job Crisis")),
            warmline.Judger(policy),
        ],
        termination_condition=MaxMessageTermination(messages),
    )


async def test_our_four_agents_sit_in_a_round_robin_team() -> None:
    policy = script()
    result = await team(policy, 8).run()
    assert [(m.source, m.to_text()) for m in result.messages] == [
        ("seeker", "I lost my job."),
        ("counselor", "Reflection of Feelings"),
        ("supporter", "You miss it."),
        ("judger", "NO"),
        ("seeker", "It was the only bakery."),
        ("counselor", "Reflection of Feelings"),
        ("supporter", "What now?"),
        ("judger", "NO"),
    ]
    prompts: dict[str, list[str]] = {}
    for request in policy.requests:
        text = "\n".join(message.content for message in request.messages)
        prompts.setdefault(request.role, []).append(text)
    advice = warmline.Strategy.REFLECTION
    assert all(advice.definition in prompt for prompt in prompts["supporter"])
    for role in ("seeker", "judger"):
        assert not any(advice.value in p or advice.definition in p for p in prompts[role])
    heard = {line for role in prompts for prompt in prompts[role] for line in prompt.splitlines()}
    assert "NO" not in heard
    assert "The mill burnt." in prompts["seeker"][0]
    assert not any("The mill burnt." in p for role in prompts if role != "seeker"
                   for p in prompts[role])  # fmt: skip
    assert "You miss it." in prompts["seeker"][1]
    assert "I lost my job." in prompts["supporter"][0]


async def test_a_reset_team_begins_again() -> None:
    policy = script()
    round_robin = team(policy, 4)
    first = await round_robin.run()
    await round_robin.reset()
    second = await round_robin.run()
    assert [m.to_text() for m in first.messages] == [m.to_text() for m in second.messages]
    assert policy.requests[0].messages == policy.requests[4].messages


async def test_the_supporters_closing_is_spoken_in_a_team() -> None:
    supporter = warmline.Supporter(script(supporter=["Take care! N/A"]))
    task = TextMessage(content="I am fine now.", source="user")
    response = await supporter.on_messages([task], CancellationToken())
    assert response.chat_message.to_model_text() == "Take care! N/A"


# AutoGen's agents in our seats


async def test_an_assistant_agent_supports() -> None:
    environment = warmline.SupportEnvironment(
        seeker=script(), counselor=script(), supporter=assistant("I hear you.", "And then?"),
        max_turns=4,
    )  # fmt: skip
    episode = await environment.run(scenario())
    assert [u.text for u in episode.utterances][1::2] == ["I hear you.", "And then?"]
    assert {c.policy for c in episode.calls if c.role == "supporter"} == {"autogen:listener"}
    assert all(c.usage is not None for c in episode.calls)


async def test_the_assistant_agent_gets_the_whole_prompt_each_time() -> None:
    client = ReplayChatCompletionClient(["One.", "Two."])
    agent = AssistantAgent("listener", model_client=client, system_message=None)
    environment = warmline.SupportEnvironment(seeker=script(), supporter=agent, max_turns=4)
    episode = await environment.run(scenario())
    for call, told in zip(
        (c for c in episode.calls if c.role == "supporter"), client.create_calls, strict=True
    ):
        sent = [message.content for message in episode.call_messages(call)]
        assert [message.content for message in told["messages"]] == sent


async def test_one_instance_serves_concurrent_episodes_one_call_at_a_time() -> None:
    client = SlowClient([f"Answer {n}." for n in range(20)])
    agent = AssistantAgent("listener", model_client=client)
    environment = warmline.SupportEnvironment(seeker=script(), supporter=agent, max_turns=4)
    episodes = await asyncio.gather(*(environment.run(scenario(f"s{n}")) for n in range(5)))
    answers = sorted(u.text for e in episodes for u in e.utterances if u.role == "supporter")
    assert answers == sorted(f"Answer {n}." for n in range(10))
    assert client.most == 1


async def test_a_factory_makes_an_agent_for_each_call_in_flight() -> None:
    made: list[SlowClient] = []

    def make() -> AssistantAgent:
        made.append(SlowClient([f"Agent {len(made)}."] * 20))
        return AssistantAgent("listener", model_client=made[-1])

    environment = warmline.SupportEnvironment(seeker=script(), supporter=make, max_turns=4)
    episodes = await asyncio.gather(*(environment.run(scenario(f"s{n}")) for n in range(6)))
    assert all(episode.error is None and len(episode.utterances) == 4 for episode in episodes)
    assert len(made) == 6
    assert {client.most for client in made} == {1}
    await environment.run(scenario("later"))
    assert len(made) == 6


async def test_an_agent_survives_its_failed_call() -> None:
    made = 0

    def make() -> AssistantAgent:
        nonlocal made
        made += 1
        return assistant("Fine.")

    policy = AutogenAgentPolicy(make)
    request = Request((Message("user", "Hello?"),))
    identity = policy.describe()
    assert (await policy.respond(request)).text == "Fine."
    for _ in range(3):
        with pytest.raises(EngineUnavailable, match="AutoGen agent 'listener' failed"):
            await policy.respond(request)
    assert made == 1
    assert policy.describe() == identity
    assert "AssistantAgent" in identity["agent_class"]


@pytest.mark.parametrize("as_factory", [True, False])
async def test_a_failing_agent_ends_the_episode_with_an_error(as_factory: bool) -> None:
    seat: Any = (lambda: assistant("Only one.")) if as_factory else assistant("Only one.")
    environment = warmline.SupportEnvironment(seeker=script(), supporter=seat)
    episode = await environment.run(scenario())
    assert episode.stop is warmline.StopReason.ERROR
    assert episode.error is not None
    assert (episode.error.type, episode.error.role) == ("EngineUnavailable", "supporter")
    assert "No more mock responses available" in episode.error.message
    assert [u.text for u in episode.utterances][1] == "Only one."


async def test_an_agent_that_judges_is_asked_for_one_of_the_choices() -> None:
    client = ReplayChatCompletionClient(["no", "Yes."])
    judger = AssistantAgent("judge", model_client=client)
    environment = warmline.SupportEnvironment(seeker=script(), supporter=script(), judger=judger)
    episode = await environment.run(scenario())
    assert [v.end for v in episode.verdicts] == [False, True]
    asked = client.create_calls[0]["messages"][-1].content
    assert asked == "Answer with exactly one of: NO, YES"


# Our environment as an AutoGen team


async def test_the_environment_streams_into_autogens_console() -> None:
    environment = warmline.SupportEnvironment(
        seeker=script(), counselor=script(), supporter=script(), judger=script(), max_turns=4
    )
    played = environment.as_team(scenario(), seed=3)
    screen = io.StringIO()
    with redirect_stdout(screen):
        result = await Console(played.run_stream())
    assert isinstance(result, TaskResult)
    episode = await environment.run(scenario(), seed=3)
    assert played.episode.content() == episode.content()
    assert [(m.source, m.content) for m in result.messages] == [  # type: ignore[union-attr]
        (u.role.value, u.text) for u in episode.utterances
    ]
    assert result.stop_reason == "turn_limit"
    assert result.messages[1].metadata["strategy"] == "Reflection of Feelings"
    assert all(u.text in screen.getvalue() for u in episode.utterances)


async def test_a_team_takes_no_task_and_keeps_its_state() -> None:
    environment = warmline.SupportEnvironment(seeker=script(), supporter=script(), max_turns=2)
    played = environment.as_team(scenario())
    with pytest.raises(ValueError, match="takes no task"):
        await played.run(task="Talk.")
    await played.run()
    restored = environment.as_team(scenario())
    await restored.load_state(await played.save_state())
    assert restored.episode == played.episode
    await played.reset()
    assert played.episode is None


async def test_our_messages_in_a_team_say_whose_they_are() -> None:
    seeker = warmline.Seeker(script())
    response = await seeker.on_messages([], CancellationToken())
    assert response.chat_message.metadata == {"warmline_role": Role.SEEKER.value}
