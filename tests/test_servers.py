"""Whole runs against real servers: one that fails in every way, and the embedded engine's own."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

import warmline
from warmline.agents import Strategy
from warmline.environments import StopReason
from warmline.policies.text.sentences import count_sentences

from .policies.chaos_server import ChaosServer, Fault, storm

SURVIVABLE = [f for f in Fault if f not in (Fault.OK, Fault.REFUSED_KEY, Fault.NO_MODEL)]
"""Faults that do not say that every further request would fail too."""


@pytest.mark.timeout(120)
async def test_a_run_against_a_failing_server_ends_with_every_record(tmp_path: Path) -> None:
    plan = storm(3, 2000, faulty=0.3, of=SURVIVABLE)
    async with ChaosServer(plan=plan, delay=0.3) as server:
        policy = warmline.OpenAIPolicy(
            "tiny", base_url=server.base_url, timeout=0.2, max_retries=3, backoff=0.001
        )
        environment = warmline.SupportEnvironment(
            seeker=policy, counselor=policy, supporter=policy, judger=policy, max_turns=8
        )
        scenarios = warmline.draw_scenarios(40, seed=1)
        async with environment:
            episodes = await asyncio.wait_for(
                warmline.run_batch(environment, scenarios, out=tmp_path, concurrency=16, seed=1),
                timeout=100,
            )
    assert [episode.id for episode in episodes] == [s.id for s in scenarios]
    assert {e.id for e in warmline.read_episodes(tmp_path)} == {s.id for s in scenarios}
    stops = [episode.stop for episode in episodes]
    assert StopReason.ERROR in stops
    assert set(stops) - {StopReason.ERROR}
    for episode in episodes:
        assert (episode.error is not None) == (episode.stop is StopReason.ERROR)
    assert len(server.requests) > 250


@pytest.mark.embedded
async def test_the_openai_policy_on_the_embedded_engines_own_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with warmline.EmbeddedPolicy(threads=1, slots=4) as engine:
        monkeypatch.setenv("LOCAL_KEY", engine.api_key)
        client = warmline.OpenAIPolicy(base_url=engine.base_url, api_key_env="LOCAL_KEY")
        environment = warmline.SupportEnvironment(
            seeker=client,
            counselor=client,
            supporter=client,
            judger=client,
            max_turns=4,
            min_turns=4,
            case_dialogues=0,
        )
        async with environment:
            scenarios = warmline.draw_scenarios(2, seed=1)
            episodes = await warmline.run_batch(environment, scenarios, out=tmp_path, seed=1)
    for episode in episodes:
        assert episode.error is None
        assert len(episode.utterances) == 4
        assert all(count_sentences(u.text) <= 3 for u in episode.utterances)
        assert all(isinstance(u.strategy, Strategy) for u in episode.utterances[1::2])
        assert all(call.policy.startswith("openai:") for call in episode.calls)
    recorded = (tmp_path / "episodes.jsonl").read_text() + (tmp_path / "config.toml").read_text()
    assert os.environ["LOCAL_KEY"] not in recorded


@pytest.mark.embedded
def test_four_seats_on_the_embedded_engine(tmp_path: Path) -> None:
    episodes = warmline.simulate(
        episodes=2,
        policy="embedded",
        options={"threads": 1},
        seed=7,
        max_turns=4,
        min_turns=4,
        case_dialogues=0,
        out=tmp_path,
    )
    for episode in episodes:
        assert episode.error is None
        assert [u.role for u in episode.utterances] == ["seeker", "supporter"] * 2
        assert all(count_sentences(u.text) <= 3 for u in episode.utterances)
        assert all(isinstance(u.strategy, Strategy) for u in episode.utterances[1::2])
        choices = [call for call in episode.calls if call.role == "counselor"]
        assert all(call.finish_reason == "choice" for call in choices)
        assert all(call.text in (call.choices or ()) for call in choices)
        assert episode.usage.completion_tokens > 20
    assert len(warmline.read_episodes(tmp_path)) == 2
