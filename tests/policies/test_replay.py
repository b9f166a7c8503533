"""Replaying a recorded run: exactly, or one role against a new other side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import warmline
from warmline.core.errors import ConfigError, DataError
from warmline.policies.replay import ReplayPolicy

SCENARIOS = [
    warmline.Scenario(id=name, problem_type="Job Crisis", situation=f"The {name} closed.")
    for name in ("bakery", "mill", "forge")
]


def speaking(word: str = "word") -> warmline.ScriptedPolicy:
    """Says something else in every call."""

    def answer(request: warmline.Request) -> str:
        if request.role == "judger":
            return "NO"
        return request.choices[2] if request.choices else f"A {word} of {request.seed}."

    return warmline.ScriptedPolicy(answer)


def environment(policy: object, **changes: object) -> warmline.SupportEnvironment:
    seats = {"seeker": policy, "counselor": policy, "supporter": policy, "judger": policy}
    return warmline.SupportEnvironment(**{**seats, "max_turns": 6, **changes})  # type: ignore[arg-type]


@pytest.fixture
async def recorded(tmp_path: Path) -> Path:
    await warmline.run_batch(environment(speaking()), SCENARIOS, out=tmp_path / "run", seed=4)
    return tmp_path / "run"


def said(episode: warmline.Episode) -> list[tuple[str, str]]:
    return [(u.text, u.raw) for u in episode.utterances]


async def test_exact_replay_is_the_recorded_run(recorded: Path) -> None:
    replayed = await warmline.run_batch(environment(ReplayPolicy(recorded)), SCENARIOS, seed=4)
    for old, new in zip(warmline.read_episodes(recorded), replayed, strict=True):
        old_content, new_content = old.content(), new.content()
        assert {call.pop("policy") for call in new_content["calls"]} == {"replay:scripted"}
        assert {call.pop("policy") for call in old_content["calls"]} == {"scripted"}
        del old_content["config_hash"], new_content["config_hash"]
        assert new_content == old_content


async def test_a_policy_that_reports_no_usage_is_replayed_too(tmp_path: Path) -> None:
    class Silent:
        async def respond(self, request: warmline.Request) -> warmline.Reply:
            return warmline.Reply("NO" if request.role == "judger" else "Well.")

    talk = environment(Silent(), counselor=None)
    await warmline.run_batch(talk, SCENARIOS[:1], out=tmp_path, seed=4)
    again = environment(ReplayPolicy(tmp_path), counselor=None)
    episode = await again.run(SCENARIOS[0], seed=4)
    assert episode.error is None
    assert {call.usage for call in episode.calls} == {None}


async def test_a_log_file_can_be_named_itself(recorded: Path) -> None:
    policy = ReplayPolicy(recorded / "episodes.jsonl")
    episode = await environment(policy).run(SCENARIOS[0], seed=4)
    assert episode.error is None


@pytest.mark.parametrize(
    ("changes", "seed"), [({}, 5), ({"history_window": 2}, 4), ({"case_dialogues": 0}, 4)]
)
async def test_where_prompts_diverge_the_episode_ends_in_an_error(
    recorded: Path, changes: dict[str, int], seed: int
) -> None:
    episode = await environment(ReplayPolicy(recorded), **changes).run(SCENARIOS[0], seed=seed)
    assert episode.stop is warmline.StopReason.ERROR
    assert episode.error is not None
    assert episode.error.type == "NotRecorded"
    assert "holds no answer for call" in episode.error.message
    assert "match='turn'" in episode.error.message


@pytest.mark.parametrize("min_turns", [0, 4])
async def test_by_turn_the_seeker_meets_a_new_supporter(tmp_path: Path, min_turns: int) -> None:
    run = tmp_path / "run"
    first = environment(speaking(), min_turns=min_turns)
    await warmline.run_batch(first, SCENARIOS, out=run, seed=4)
    old = ReplayPolicy(run, match="turn")
    again = environment(old, supporter=speaking("new"), min_turns=min_turns)
    for scenario, before in zip(SCENARIOS, warmline.read_episodes(run), strict=True):
        episode = await again.run(scenario, seed=99)
        assert episode.error is None
        assert said(episode)[::2] == said(before)[::2]
        assert all("new" in text for text, _ in said(episode)[1::2])
        assert [v.end for v in episode.verdicts] == [v.end for v in before.verdicts]


async def test_by_turn_an_answer_that_was_asked_for_again_counts_once(tmp_path: Path) -> None:
    calls = 0

    def hesitant(request: warmline.Request) -> str:
        nonlocal calls
        calls += 1
        return "" if calls % 2 else f"After silence {calls}."

    talk = {"seeker": warmline.ScriptedPolicy(hesitant), "counselor": None, "judger": None}
    await warmline.run_batch(
        environment(speaking(), **talk), SCENARIOS[:1], out=tmp_path / "run", seed=4
    )
    [before] = warmline.read_episodes(tmp_path / "run")
    assert len(before.calls) == 9
    old = ReplayPolicy(tmp_path / "run", match="turn")
    episode = await environment(old, counselor=None, judger=None).run(SCENARIOS[0], seed=1)
    assert said(episode) == said(before)


async def test_a_torn_last_line_is_left_out(recorded: Path) -> None:
    log = recorded / "episodes.jsonl"
    log.write_bytes(log.read_bytes()[:-200])
    policy = ReplayPolicy(recorded)
    episodes = [await environment(policy).run(scenario, seed=4) for scenario in SCENARIOS]
    assert sorted(episode.error is None for episode in episodes) == [False, True, True]


@pytest.mark.parametrize("broken", ["{not json", "{}", "[]", '{"messages": []}'])
async def test_a_broken_line_names_file_and_line(recorded: Path, broken: str) -> None:
    log = recorded / "episodes.jsonl"
    lines = log.read_text().splitlines()
    log.write_text("\n".join([lines[0], broken, lines[1]]) + "\n")
    with pytest.raises(DataError, match=r"episodes\.jsonl, line 2: not an episode record"):
        ReplayPolicy(recorded)


def test_no_log_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no episode log there\n.*a run's folder"):
        ReplayPolicy(tmp_path)
    with pytest.raises(DataError, match="no episode log there"):
        ReplayPolicy(tmp_path / "nowhere.jsonl")


def test_an_unknown_way_to_match_is_refused(recorded: Path) -> None:
    with pytest.raises(ConfigError, match="'exact' or 'turn', not 'fuzzy'"):
        ReplayPolicy(recorded, match="fuzzy")  # type: ignore[arg-type]


async def test_a_failed_call_in_the_log_is_no_answer(tmp_path: Path) -> None:
    def failing(request: warmline.Request) -> str:
        if request.role == "supporter":
            raise warmline.core.errors.EngineUnavailable("gone")
        return "Well."

    log = tmp_path / "episodes.jsonl"
    talk = environment(warmline.ScriptedPolicy(failing), counselor=None)
    log.write_text((await talk.run(SCENARIOS[0], seed=4)).to_json() + "\n")
    assert "text" not in json.loads(log.read_text())["calls"][-1]
    replay = environment(ReplayPolicy(log), counselor=None)
    episode = await replay.run(SCENARIOS[0], seed=4)
    assert [u.text for u in episode.utterances] == ["Well."]
    assert episode.error is not None
    assert episode.error.type == "NotRecorded"


async def test_what_was_thought_is_replayed(tmp_path: Path) -> None:
    policy = warmline.ScriptedPolicy(lambda request: f"<think>{request.role}</think>Word by word.")
    old = await environment(policy).run(warmline.Scenario(id="s", problem_type="x", situation="y"))
    (tmp_path / "episodes.jsonl").write_text(old.to_json() + "\n", "utf-8")
    again = await environment(ReplayPolicy(tmp_path)).run(old.scenario, seed=old.seed)
    assert [call.thinking for call in again.calls] == [call.thinking for call in old.calls]
    assert old.calls[0].thinking == "seeker"
