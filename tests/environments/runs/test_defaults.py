"""Defaults by policy: what a run leaves open suits its models, and what is set counts."""

from __future__ import annotations

from typing import Any

import pytest

import warmline
from warmline.agents.roles import Role
from warmline.core.errors import ConfigError
from warmline.environments.dialogue.defaults import SMALL, TRAINED_SAMPLING, limits_for
from warmline.environments.dialogue.limits import Limits
from warmline.environments.runs.settings import load_settings
from warmline.environments.runs.simulate import build_environment
from warmline.policies.base import Capabilities

PAPERS = {"max_turns": 20, "history_window": 6, "case_dialogues": 3, "min_turns": 0}


class Small(warmline.ScriptedPolicy):
    """A scripted policy that says it is a small model."""

    capabilities = Capabilities(prefill=True, small_model=True)


class Trained(warmline.ScriptedPolicy):
    """The same, trained for the seats."""

    capabilities = Capabilities(prefill=True, small_model=True, knows_seats=True)


def limits(given: dict[str, Any], seats: dict[Role, Any] | None = None) -> dict[str, int]:
    made = build_environment(load_settings(given={"policy": "scripted", **given}), seats)
    return {name: getattr(made.limits, name) for name in PAPERS}


def test_the_papers_figures_are_the_defaults() -> None:
    assert limits({}) == PAPERS == {name: getattr(Limits(), name) for name in PAPERS}


def test_a_small_model_plays_short_talks_that_it_sees_whole() -> None:
    small = {name: value for name, (_, value) in SMALL.items()}
    assert limits({}, dict.fromkeys(Role, Small())) == small
    assert small["history_window"] >= small["max_turns"] > small["min_turns"] >= 8
    assert limits({"history_window": 4, "case_dialogues": 2}, dict.fromkeys(Role, Small())) == {
        **small, "history_window": 4, "case_dialogues": 2
    }  # fmt: skip


@pytest.mark.parametrize("role", list(Role))
def test_each_limit_follows_the_role_that_it_is_about(role: Role) -> None:
    found = limits({}, {role: Small()})
    for name, (decides, value) in SMALL.items():
        assert found[name] == (value if decides is role else PAPERS[name])


@pytest.mark.parametrize(
    ("given", "expected"),
    [({"max_turns": 4}, (4, 4)), ({"min_turns": 18}, (18, 18)), ({"min_turns": 0}, (0, 16))],
)
def test_one_end_that_is_set_moves_the_other(
    given: dict[str, int], expected: tuple[int, int]
) -> None:
    found = limits(given, dict.fromkeys(Role, Small()))
    assert (found["min_turns"], found["max_turns"]) == expected


def test_an_impossible_pair_is_refused_as_before() -> None:
    with pytest.raises(ConfigError, match="min_turns 30 is above max_turns 20"):
        load_settings(given={"min_turns": 30})
    with pytest.raises(ConfigError, match="min_turns 8 is above max_turns 6"):
        load_settings(given={"min_turns": 8, "max_turns": 6})


def test_every_limit_is_given() -> None:
    assert limits_for({}, {}) == Limits().model_dump()


def test_openings_help_only_who_does_not_know_the_seats() -> None:
    for policy, helped in ((Small(), True), (Trained(), False), (warmline.ScriptedPolicy(), False)):
        made = build_environment(load_settings(), dict.fromkeys(Role, policy))
        assert (made.seeker.openings, made.supporter.openings) == (helped, helped)


def test_a_trained_small_model_draws_as_suits_it_unless_told_otherwise() -> None:
    usual = build_environment(load_settings(), dict.fromkeys(Role, Small()))
    trained = build_environment(load_settings(), dict.fromkeys(Role, Trained()))
    given = {"temperature": 0.9, "judger": {"temperature": 0.0}}
    told = build_environment(load_settings(given=given), dict.fromkeys(Role, Trained()))
    for role, drawn in TRAINED_SAMPLING.items():
        before, after = usual.agents()[role].sampling, trained.agents()[role].sampling
        assert after == drawn.over(before) != before
    temperatures = {role: agent.sampling.temperature for role, agent in told.agents().items()}
    assert temperatures == {
        Role.SEEKER: 0.9, Role.SUPPORTER: 0.9, Role.JUDGER: 0.0,
        Role.COUNSELOR: TRAINED_SAMPLING[Role.COUNSELOR].temperature,
    }  # fmt: skip
    assert told.supporter.sampling.min_p == TRAINED_SAMPLING[Role.SUPPORTER].min_p


def test_the_embedded_model_knows_its_seats_but_for_its_bare_weights_and_those_of_others() -> None:
    shipped, bare = warmline.EmbeddedPolicy(), warmline.EmbeddedPolicy(adapter="none")
    own = warmline.EmbeddedPolicy("mine.gguf")
    for policy, small, knows in ((shipped, True, True), (bare, True, False), (own, False, False)):
        able = policy.capabilities
        assert (able.small_model, able.knows_seats) == (small, knows)
    assert shipped.describe()["adapter_sha256"]
    assert "adapter_sha256" not in bare.describe()
    with pytest.raises(ConfigError, match="adapter must be one of shipped, none, not 'mine'"):
        warmline.EmbeddedPolicy(adapter="mine")


# Where a run goes that names no folder


def folder(**given: Any) -> str:
    return load_settings(given=given).default_folder()


def test_other_settings_go_to_another_folder_and_the_same_to_the_same() -> None:
    assert folder() == "runs/embedded-seed0"
    assert folder(episodes=3, concurrency=2) == folder()  # resumed, and extended
    assert folder(policy="my.module:Mine", seed=4) == "runs/my.module-Mine-seed4"
    openai = {"policy": "openai", "model": "m", "base_url": "http://localhost:8000/v1"}
    others = [
        folder(),
        folder(max_turns=4),
        folder(max_turns=6),
        folder(seeker=openai),
        folder(options={"adapter": "none"}),
        folder(problem_types=("Burnout",)),
    ]
    assert len(set(others)) == len(others)
    assert all(name.startswith("runs/embedded-seed0") for name in others)
    assert folder(max_turns=4) == folder(max_turns=4)
