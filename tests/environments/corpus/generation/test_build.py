"""Building a corpus from end to end, offline: rounds, self-iteration, resuming, report, command."""

from __future__ import annotations

import asyncio
import json
import random
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import warmline
from warmline import Request, ScriptedPolicy
from warmline.agents import Role
from warmline.cli import app
from warmline.core.errors import ConfigError, DataError, Interrupted, RunError
from warmline.core.settings import read_settings
from warmline.environments.corpus import BuildReport, BuildSettings, build, build_corpus
from warmline.environments.corpus.generation.build import learnt_from
from warmline.environments.corpus.generation.journal import read_rejects
from warmline.environments.corpus.generation.report import as_markdown
from warmline.environments.corpus.tags import read_tags
from warmline.environments.scenarios import seed_pool

from ....warm import Started
from ...helpers import scenario
from ..building import answer, scripted, slow

TYPES = ("Burnout", "Job Crisis", "Sleep Problems")


def made(folder: Path, policy: ScriptedPolicy | None = None, **settings: Any) -> BuildReport:
    chosen = {"episodes": 9, "rounds": 3, "problem_types": TYPES, "seed": 1, "max_turns": 12}
    return build(policy=policy or scripted(), out=str(folder), **{**chosen, **settings})


def content(folder: Path) -> dict[str, list[str]]:
    """What two builds must share, whatever the order in which things were finished."""
    lines = {
        name: sorted((folder / name).read_text().splitlines())
        for name in ("scenarios.jsonl", "rejects.jsonl")
    }
    lines["episodes"] = sorted(
        json.dumps(e.content(), sort_keys=True) for e in warmline.read_episodes(folder)
    )
    return lines


def test_a_build_fills_its_plan_and_reports_it(tmp_path: Path) -> None:
    report = made(tmp_path)
    assert report.coverage.planned == report.coverage.got == 9
    assert {cell.name: cell.got for cell in report.coverage.types} == dict.fromkeys(TYPES, 3)
    assert report.statistics.dialogues == 9
    assert report.conversations == {"judger": 9}
    assert report.holes == []
    assert len(read_tags(tmp_path)) == 9
    episodes = warmline.read_episodes(tmp_path)
    pool = {s.id: s for s in warmline.read_scenarios(tmp_path / "scenarios.jsonl")}
    assert {e.scenario.id: e.scenario for e in episodes} == pool
    stored = json.loads((tmp_path / "report.json").read_text())
    assert stored["generation"]["accepted"] == 9
    assert stored["generation"]["refused"] == len(read_rejects(tmp_path))
    assert (tmp_path / "report.md").read_text() == as_markdown(report)
    assert json.loads((tmp_path / "summary.json").read_text())["episodes"] == 9


def test_all_45_types_are_covered(tmp_path: Path) -> None:
    report = made(tmp_path, episodes=60, rounds=1, problem_types=())
    assert all(cell.got >= 1 for cell in report.coverage.types)
    assert len(report.coverage.types) == 45


def test_later_rounds_learn_from_earlier_ones(tmp_path: Path) -> None:
    policy = scripted()
    report = made(tmp_path, policy)
    scenarios = {s.id: s for s in warmline.read_scenarios(tmp_path / "scenarios.jsonl")}
    assert Counter(s.origin.round for s in scenarios.values()) == {1: 3, 2: 3, 3: 3}
    for one in scenarios.values():
        shown = {name for name in one.origin.examples if name in scenarios}
        assert all(scenarios[name].origin.round < one.origin.round for name in shown)
        behind = [
            scenarios[n].origin.depth
            for n in (*shown, one.origin.profile_example)
            if n in scenarios
        ]
        assert one.origin.depth == 1 + max(behind, default=0)
    assert report.generation.depths["2"] >= 1
    share = report.generation.generated_share
    assert share is not None
    assert 0 < share <= 0.5
    # a finished dialogue is also a case for supporters
    texts = {u.text for e in warmline.read_episodes(tmp_path) for u in e.utterances}
    systems = {r.messages[0].content for r in policy.requests if r.role == "supporter"}
    assert any(text in system for text in texts for system in systems)


def test_without_a_share_nothing_generated_is_shown(tmp_path: Path) -> None:
    report = made(tmp_path, generated_share=0)
    assert report.generation.generated_examples == 0
    assert report.generation.depths == {"1": 9}


def test_one_round_is_no_self_iteration(tmp_path: Path) -> None:
    assert made(tmp_path, rounds=1).generation.depths == {"1": 9}


def test_truncated_dialogues_teach_only_if_asked(tmp_path: Path) -> None:
    cut = {"max_turns": 4, "clean": False, "profile": "drawn"}
    assert made(tmp_path / "a", **cut).generation.generated_examples == 0
    assert made(tmp_path / "b", learn_truncated=True, **cut).generation.generated_examples > 0


def test_a_dropped_dialogue_teaches_nothing(tmp_path: Path) -> None:
    """The seeker talks like a supporter; its scenarios are no examples, its profiles are."""

    def swapped(request: Request) -> str:
        if request.role == "seeker":
            turn = getattr(request.observation, "turn", 0)
            return (
                "I'm so sorry to hear that. As your supporter, I'm here for you."
                f" How can I help you today, friend {turn}?"
            )
        return answer(request)

    report = made(tmp_path, ScriptedPolicy(swapped))
    assert report.generation.generated_examples == 0
    pool = warmline.read_scenarios(tmp_path / "scenarios.jsonl")
    assert {s.origin.profile_example for s in pool} & {s.id for s in pool}
    assert report.statistics.dialogues == 0
    assert "role" in report.dropped_by
    assert "problem type 'Burnout': 0 of 3" in report.holes


def test_an_example_is_learnt_as_it_was_trimmed() -> None:
    (episode,) = warmline.simulate(scenarios=[scenario()], policy=scripted(), max_turns=12, seed=1)
    settings = BuildSettings(out="x")
    learnt = learnt_from(episode, settings)
    assert learnt is not None
    assert learnt.scenario == episode.scenario
    assert learnt_from(episode.model_copy(update={"utterances": ()}), settings) is None


def test_planned_attributes_are_reported(tmp_path: Path) -> None:
    report = made(
        tmp_path,
        coverage={"attributes": {"gender": {"female": 2, "male": 1}}},
        profile_attempts=20,
    )
    cells = {cell.name: (cell.planned, cell.got) for cell in report.coverage.attributes["gender"]}
    assert cells == {"female": (6, 6), "male": (3, 3)}


def test_what_was_given_up_is_a_hole(tmp_path: Path) -> None:
    def refusing(request: Request) -> str:
        return "No." if "Job Crisis" in request.messages[-1].content else answer(request)

    report = made(tmp_path, ScriptedPolicy(refusing), attempts=2)
    assert "problem type 'Job Crisis': 0 of 3" in report.coverage.holes()
    assert report.conversations == {"judger": 6}
    assert report.generation.rejects[0].reason == "too short"


def test_a_build_where_nothing_is_accepted_still_reports(tmp_path: Path) -> None:
    report = made(tmp_path, ScriptedPolicy(lambda request: "No."), attempts=1)
    assert report.generation.accepted == 0
    assert report.generation.yield_rate == 0
    assert report.statistics.avg_utt_len is None


def test_a_situation_without_a_person_was_a_usable_one(tmp_path: Path) -> None:
    policy = ScriptedPolicy(lambda request: "no" if request.schema else answer(request))
    made_of_it = made(tmp_path, policy, attempts=1, profile_attempts=1).generation
    refused = sum(r.count for r in made_of_it.rejects if r.stage == "scenario")
    assert made_of_it.accepted == 0
    assert made_of_it.yield_rate == round((9 - refused) / 9, 4)


# The same corpus again


@pytest.mark.parametrize("concurrency", [1, 20])
def test_the_same_seed_gives_the_same_corpus(tmp_path: Path, concurrency: int) -> None:
    made(tmp_path / "a")
    made(tmp_path / "b", concurrency=concurrency)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    made(tmp_path / "c", seed=2)
    assert content(tmp_path / "a")["episodes"] != content(tmp_path / "c")["episodes"]


def test_a_finished_build_asks_nothing_again(tmp_path: Path) -> None:
    first = made(tmp_path)
    policy = scripted()
    before = content(tmp_path)
    assert made(tmp_path, policy) == first
    assert policy.requests == []
    assert content(tmp_path) == before


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({"episodes": 12}, "build.dialogues: 9 -> 12"),
        ({"rounds": 2}, "build.rounds: 3 -> 2"),
        ({"seed": 2}, "seed: 1 -> 2"),
        ({"min_words": 25}, "build.min_words: 20 -> 25"),
        ({"max_turns": 6}, "limits.max_turns: 12 -> 6"),
        ({"generator": {"temperature": 0.1}}, "generator.sampling.temperature"),
        ({"coverage": {"quotas": "published"}}, "build.coverage.quotas: uniform -> published"),
    ],
)
def test_another_build_in_the_same_folder_is_refused(
    tmp_path: Path, changes: dict[str, Any], shown: str
) -> None:
    made(tmp_path)
    before = content(tmp_path)
    with pytest.raises(RunError) as raised:
        made(tmp_path, **changes)
    assert shown in str(raised.value)
    assert content(tmp_path) == before


def test_a_build_over_another_seed_pool_is_refused_in_words_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path)
    before = content(tmp_path)
    seeds = seed_pool._files()
    fewer = tuple(kind | {"dialogue": kind["dialogue"][:9]} for kind in seeds)
    with monkeypatch.context() as patched:
        patched.setattr(seed_pool, "_files", lambda: fewer)
        seed_pool._dialogues.cache_clear()
        with pytest.raises(RunError, match=r"over another pool.*the seed pool has changed"):
            made(tmp_path)
    seed_pool._dialogues.cache_clear()
    assert content(tmp_path) == before
    made(tmp_path)


async def test_a_stopped_build_goes_on(tmp_path: Path) -> None:
    settings = BuildSettings(
        out=str(tmp_path / "a"), episodes=9, rounds=3, problem_types=TYPES, seed=1, max_turns=12
    )
    for role in ("generator", "seeker"):
        stop = asyncio.Event()
        heard = 0

        def stopping(request: Request) -> str:
            nonlocal heard
            heard += request.role == role  # noqa: B023
            if heard > 5:
                stop.set()  # noqa: B023
            return answer(request)

        stopping.__qualname__ = answer.__qualname__  # part of the run's identity
        policy = ScriptedPolicy(stopping)
        with pytest.raises(Interrupted, match="same command again"):
            await build_corpus(
                settings, seats=dict.fromkeys(Role, policy), generator=policy, stop=stop
            )
    await asyncio.to_thread(made, tmp_path / "a")
    await asyncio.to_thread(made, tmp_path / "b")
    assert content(tmp_path / "a") == content(tmp_path / "b")


def slowly_built(folder: Path, concurrency: int) -> None:
    """What the processes that are killed run."""
    build(
        policy=slow(), out=str(folder), episodes=24, rounds=3, seed=1, max_turns=12,
        concurrency=concurrency, problem_types=TYPES,
    )  # fmt: skip


@pytest.mark.timeout(240)
def test_kills_at_any_moment_lose_and_repeat_nothing(tmp_path: Path) -> None:
    """SIGKILL at six random moments, another concurrency each time; then the same corpus."""
    clock = random.Random(3)
    kills = 0
    for _ in range(6):
        process = Started(slowly_built, tmp_path / "killed", clock.choice([1, 2, 3]))
        time.sleep(0.3 + 1.5 * clock.random())
        kills += process.kill() == -signal.SIGKILL
    assert kills >= 3, "finished too early: slow the policy down"
    assert Started(slowly_built, tmp_path / "killed", 8).wait(60) == 0
    assert Started(slowly_built, tmp_path / "whole", 5).wait(60) == 0
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
    assert len(warmline.read_scenarios(tmp_path / "killed" / "scenarios.jsonl")) == 24


# Other seeds


def test_seeds_can_come_from_another_corpus(tmp_path: Path) -> None:
    made(tmp_path / "first", rounds=1)
    (tmp_path / "first" / "sources.json").write_text(
        json.dumps({"sources": [{"name": "elsewhere", "licence": "CC-BY-4.0"}]})
    )
    policy = scripted()
    made(tmp_path / "second", policy, source=str(tmp_path / "first"), seed=5, generated_share=1)
    old = {s.situation for s in warmline.read_scenarios(tmp_path / "first" / "scenarios.jsonl")}
    shown = {
        m.content
        for r in policy.requests
        if r.role == "generator" and not r.schema
        for m in r.messages
        if m.role == "assistant"
    }
    assert shown & old
    copied = json.loads((tmp_path / "second" / "sources.json").read_text())
    assert copied["sources"][0]["licence"] == "CC-BY-4.0"
    with pytest.raises(RunError, match="pools"):
        made(tmp_path / "second", seed=5, generated_share=1)


def test_a_source_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no episode log"):
        made(tmp_path / "a", source=str(tmp_path / "none"))


# Settings and the command


def test_a_generator_of_its_own_writes_and_the_run_plays(tmp_path: Path) -> None:
    policy, generator = scripted(), scripted()
    build(policy=policy, generator=generator, out=str(tmp_path), episodes=2, rounds=1, max_turns=12)
    assert {r.role for r in generator.requests} == {"generator"}
    assert "generator" not in {r.role for r in policy.requests}


def test_the_generators_engine_is_the_runs_unless_it_has_its_own() -> None:
    shared = BuildSettings(policy="openai", model="big", options={"a": 1}).writer()
    assert (shared.policy, shared.model, shared.options) == ("openai", "big", {"a": 1})
    own = BuildSettings(policy="openai", model="big", generator={"policy": "embedded"}).writer()
    assert (own.policy, own.model) == ("embedded", None)


def test_settings_of_a_run_that_a_build_has_no_use_for_are_refused() -> None:
    with pytest.raises(ConfigError, match="makes its own scenarios"):
        BuildSettings(scenarios="x.jsonl")


def test_a_build_that_an_earlier_version_saved_is_read() -> None:
    assert read_settings(BuildSettings, given={"dialogues": 3}).episodes == 3


def test_unknown_settings_and_types_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'episodes'"):
        build(policy=scripted(), out=str(tmp_path), episode=3)
    with pytest.raises(ConfigError, match="did you mean 'Burnout'"):
        made(tmp_path, problem_types=["Burn out"])
    with pytest.raises(ConfigError, match="needs a folder"):
        build(policy=scripted())


def test_the_saved_configuration_repeats_the_build(tmp_path: Path) -> None:
    made(tmp_path, coverage={"attributes": {"gender": {"female": 1}}}, profile="drawn")
    saved = tomllib.loads((tmp_path / "config.toml").read_text())
    assert saved["episodes"] == 9
    assert saved["coverage"]["attributes"]["gender"]["female"] == 1
    assert saved["identity"]["build"]["profile"] == "drawn"
    assert "template" in saved["identity"]["seeker"]


def test_the_command_builds_resumes_and_prints_json(tmp_path: Path) -> None:
    name = "warmline.testing_building:scripted"
    sys.modules["warmline.testing_building"] = sys.modules[scripted.__module__]
    arguments = ["build", "--policy", name, "--episodes", "3", "--rounds", "1", "--seed", "4",
                 "--out", str(tmp_path), "--max-turns", "12", "--profile", "drawn", "--fit", "off",
                 "--coverage.quotas", "published"]  # fmt: skip
    try:
        first = CliRunner().invoke(app, [*arguments, "--json", "--quiet"])
        assert first.exit_code == 0, first.output
        report = json.loads(first.stdout)
        assert report["coverage"]["got"] == 3
        assert report["generation"]["profiles_by"] == {"drawn": 3}
        again = CliRunner().invoke(app, [*arguments, "--quiet"])
        assert again.exit_code == 0
        assert "must not stand in for help" in re.sub(r"\s+", " ", again.stdout)
        assert "Coverage" in again.stdout
        repeated = CliRunner().invoke(
            app, ["build", "--config", str(tmp_path / "config.toml"), "--json"]
        )
        assert json.loads(repeated.stdout.splitlines()[-1]) == report
    finally:
        del sys.modules["warmline.testing_building"]


def test_a_build_that_keeps_nothing_says_so(tmp_path: Path) -> None:
    arguments = ["build", "--policy", "scripted", "--episodes", "1", "--attempts", "1"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path), "--quiet"])
    assert done.exit_code == 3, done.output
    assert "nothing is kept; rejects.jsonl holds every answer refused, and why" in re.sub(
        r"\s+", " ", done.stdout
    )
    assert len(read_rejects(tmp_path)) == 1


def test_the_commands_help_names_the_settings() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "warmline.cli", "build", "--help"],
        capture_output=True, text=True, check=True, env={"COLUMNS": "200", "PATH": ""},
    ).stdout  # fmt: skip
    assert "--episodes" in shown
    assert "--generator.policy" in shown
    assert "--scenarios" not in shown
    assert "--scenarios" not in shown
