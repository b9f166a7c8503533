"""A content filter that steps in: a missing verdict, a missing strategy, or a typed end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import warmline
from warmline.agents import Role
from warmline.core.errors import BadRequest, ContentRefused
from warmline.environments import StopReason

from ...policies.chaos_server import ChaosServer, Refusal
from ..helpers import scenario, scenarios

FILTERED = "The response was filtered due to the content management policy"


def refusing(*roles: str, error: type[BadRequest] = ContentRefused) -> warmline.ScriptedPolicy:
    def answer(request: warmline.Request) -> str:
        if request.role in roles:
            raise error(FILTERED)
        return request.choices[0] if request.choices else "It rained all day."

    return warmline.ScriptedPolicy(answer)


def environment(policy: Any, **changes: Any) -> warmline.SupportEnvironment:
    seats = {role.value: policy for role in Role}
    return warmline.SupportEnvironment(**{**seats, "max_turns": 4, **changes})


@pytest.mark.parametrize("speculative", [False, True])
async def test_advisers_that_are_refused_leave_no_answer_and_the_talk_goes_on(
    speculative: bool,
) -> None:
    policy = refusing("counselor", "judger")
    episode = await environment(policy, speculative=speculative).run(scenario(), seed=1)
    assert episode.stop is StopReason.TURN_LIMIT
    assert episode.error is None
    assert [u.strategy for u in episode.utterances] == [None] * 4
    assert [(v.after, v.end) for v in episode.verdicts] == [(2, None), (4, None)]
    refused = [n for n, call in enumerate(episode.calls) if call.error]
    assert [episode.calls[n].role for n in refused] == ["counselor", "judger"] * 2
    assert [v.call for v in episode.verdicts] == refused[1::2]
    assert all(episode.calls[n].error == f"ContentRefused: {FILTERED}" for n in refused)


@pytest.mark.parametrize("role", ["seeker", "supporter"])
async def test_a_speaker_that_is_refused_ends_it_with_what_the_server_said(role: str) -> None:
    episode = await environment(refusing(role)).run(scenario(), seed=1)
    assert episode.stop is StopReason.REFUSED
    assert episode.stop.failed
    assert episode.truncated
    assert episode.error is not None
    assert (episode.error.type, episode.error.role) == ("ContentRefused", role)
    assert FILTERED in episode.error.message


async def test_other_refusals_end_it_as_before() -> None:
    policy = refusing("judger", error=BadRequest)
    assert (await environment(policy).run(scenario(), seed=1)).stop is StopReason.ERROR


async def test_a_run_counts_them_and_plays_refused_ones_again(tmp_path: Path) -> None:
    refused = environment(refusing("supporter", "judger"))
    await warmline.run_batch(refused, scenarios(3), out=tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["stop"] == {"refused": 3}
    assert summary["errors"] == {"ContentRefused": 3}
    assert summary["refused_calls"] == {"supporter": 3}
    read = warmline.read_episodes(tmp_path)
    assert {episode.stop for episode in read} == {StopReason.REFUSED}
    healed = environment(refusing("judger"))
    await warmline.run_batch(healed, scenarios(3), out=tmp_path, retry_failed=True)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["stop"] == {"turn_limit": 3}
    assert summary["refused_calls"] == {"judger": 6}
    assert summary["unreadable_verdicts"] == 6


async def test_a_run_on_a_server_with_opinions(tmp_path: Path) -> None:
    """A reasoning model behind Azure's filter, under a template without system role."""

    def refuse(body: dict[str, Any]) -> Refusal | None:
        if "temperature" in body:
            said = "Unsupported value: 'temperature' does not support 0.7 with this model."
            return Refusal(400, said, {"param": "temperature", "code": "unsupported_value"})
        if any(message["role"] == "system" for message in body["messages"]):
            return Refusal(400, "System role not supported")
        if "is it over?" in body["messages"][-1]["content"]:  # the judger's question
            return Refusal(400, "filtered", {"code": "content_filter"})
        return None

    async with ChaosServer(refuse=refuse) as server:
        policy = warmline.OpenAIPolicy("tiny", base_url=server.base_url)
        with pytest.warns(UserWarning, match="does not take everything") as told:
            episodes = await warmline.run_batch(
                environment(policy, counselor=None), scenarios(2), out=tmp_path
            )
        await policy.aclose()
    assert len({str(warning.message) for warning in told}) == len(told)
    assert {episode.stop for episode in episodes} == {StopReason.TURN_LIMIT}
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["refused_calls"] == {"judger": 4}
    assert summary["servers"] == {
        "openai:tiny without temperature": 8,
        "openai:tiny with the system message folded into the first user message": 8,
    }
    assert warmline.read_episodes(tmp_path)[0].content() == episodes[0].content()
