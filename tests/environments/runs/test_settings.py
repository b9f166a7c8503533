"""Settings: TOML, keywords, roles, refusals; scenario files; the sync surface."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

import warmline
from warmline.agents import Role
from warmline.core.errors import ConfigError, DataError, PolicyNotFound
from warmline.environments import build_environment, choose_scenarios, load_settings
from warmline.policies.base import Capabilities

from ..helpers import scenario, scenarios, talk


def toml(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(text)
    return path


def test_a_file_and_what_is_laid_over_it(tmp_path: Path) -> None:
    path = toml(tmp_path, 'policy = "scripted"\nmax_turns = 6\n[seeker]\ntemperature = 0.3\n')
    settings = load_settings(path, {"max_turns": 8, "seeker": {"top_p": 0.5}})
    assert (settings.policy, settings.max_turns) == ("scripted", 8)
    assert settings.role(Role.SEEKER).sampling() == warmline.Sampling(0.3, 0.5)


def test_run_sampling_goes_to_the_speakers_only() -> None:
    settings = load_settings(given={"temperature": 1.5})
    assert settings.role(Role.SUPPORTER).temperature == 1.5
    assert settings.role(Role.COUNSELOR).temperature is None


def test_how_a_model_thinks_goes_to_every_seat_of_the_runs_policy() -> None:
    settings = load_settings(
        given={
            "thinking": "low",
            "max_thinking_tokens": 300,
            "seeker": {"policy": "scripted"},
            "judger": {"thinking": "off"},
        }
    )
    told = {
        role: settings.role(role).sampling()
        for role in (Role.SEEKER, Role.COUNSELOR, Role.SUPPORTER, Role.JUDGER)
    }
    assert told[Role.SEEKER] == warmline.Sampling(), "another model"
    assert told[Role.COUNSELOR] == warmline.Sampling(thinking="low", max_thinking_tokens=300)
    assert told[Role.SUPPORTER] == told[Role.COUNSELOR]
    assert told[Role.JUDGER].thinking == "off"


def test_a_role_with_its_own_policy_takes_no_options_of_the_run() -> None:
    settings = load_settings(
        given={
            "policy": "openai",
            "model": "big",
            "base_url": "http://x/v1",
            "seeker": {"policy": "scripted"},
            "judger": {"model": "small"},
        }
    )
    assert settings.role(Role.SEEKER).policy_options() == {}
    assert settings.role(Role.SUPPORTER).policy_options() == {
        "model": "big",
        "base_url": "http://x/v1",
    }
    assert settings.role(Role.JUDGER).policy_options()["model"] == "small"


def test_seats_with_equal_engines_share_one_policy() -> None:
    environment = build_environment(
        load_settings(given={"policy": "scripted", "seeker": {"options": {"record": False}}})
    )
    assert environment.supporter.policy is environment.judger.policy  # type: ignore[union-attr]
    assert environment.seeker.policy is not environment.supporter.policy


def test_every_problem_is_reported_with_a_suggestion(tmp_path: Path) -> None:
    path = toml(tmp_path, 'max_turn = 3\nmax_sentences = 0\n[seker]\npolicy = "x"\n')
    with pytest.raises(ConfigError) as raised:
        load_settings(path)
    text = str(raised.value)
    assert "run.toml" in text
    assert "unknown field 'max_turn'; did you mean 'max_turns'?" in text
    assert "unknown field 'seker'; did you mean 'seeker'?" in text
    assert "max_sentences" in text


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.toml: no such file"):
        load_settings(tmp_path / "gone.toml")
    with pytest.raises(DataError, match="line 2"):
        load_settings(toml(tmp_path, "seed = 1\nmax_turns =\n"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seeker": {"seated": False}}, "seat cannot be left empty"),
        ({"judger": {"openings": True}}, "has no openings"),
        ({"options": {"recrod": True}}, "did you mean 'record'"),
        ({"seeker": {"template": "seker.jinja"}}, "did you mean 'seeker.jinja'"),
        ({"temperature": -1}, "temperature must be at least 0"),
    ],
)
def test_settings_without_an_environment_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_environment(load_settings(given={"policy": "scripted", **given}))


def test_an_unknown_policy_is_answered_with_the_closest() -> None:
    with pytest.raises(PolicyNotFound, match="did you mean 'scripted'"):
        warmline.simulate(policy="scriptd")


class Small(warmline.ScriptedPolicy):
    """A scripted policy that says it is a small model."""

    capabilities = Capabilities(prefill=True, small_model=True)


def test_helps_for_small_models_are_on_by_themselves_and_can_be_switched_off() -> None:
    plain = build_environment(load_settings(given={"policy": "scripted"}))
    assert (plain.limits.case_dialogues, plain.supporter.openings) == (3, False)
    seats = dict.fromkeys(Role, Small())
    helped = build_environment(load_settings(), seats)
    assert (helped.limits.case_dialogues, helped.supporter.openings) == (0, True)
    assert helped.seeker.openings
    without = {"case_dialogues": 2, "supporter": {"openings": False}}
    chosen = build_environment(load_settings(given=without), seats)
    assert (chosen.limits.case_dialogues, chosen.supporter.openings) == (2, False)


def test_wrappers_are_composed_from_settings(tmp_path: Path) -> None:
    cache = {"name": "cache", "path": str(tmp_path / "c.sqlite")}
    given = {
        "policy": "scripted",
        "wrap": [cache],
        "seeker": {"wrap": ["limit:requests_per_minute=1000"]},
    }
    environment = build_environment(load_settings(given=given))
    assert type(environment.supporter.policy).__name__ == "Cache"
    assert type(environment.seeker.policy).__name__ == "Limit"
    with pytest.raises(ConfigError, match="did you mean 'cache'"):
        build_environment(load_settings(given={"policy": "scripted", "wrap": ["cach"]}))


def test_a_run_through_a_cache_is_marked_the_second_time(tmp_path: Path) -> None:
    wrap = [{"name": "cache", "path": str(tmp_path / "c.sqlite")}]
    options = {"policy": "scripted", "wrap": wrap, "episodes": 2, "max_turns": 2}
    first, second = warmline.simulate(**options), warmline.simulate(**options)
    assert not any(call.cached for e in first for call in e.calls)
    assert all(call.cached for e in second for call in e.calls)
    assert [e.utterances for e in first] == [e.utterances for e in second]


# Scenario files


def write_lines(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def test_scenarios_are_read_with_sentence_or_fields_as_profile(tmp_path: Path) -> None:
    given = [
        scenario("a", profile="Ada, 44"),
        scenario("b", profile=warmline.Profile(name="Bo", age=17)),
    ]
    path = write_lines(tmp_path / "s.jsonl", [s.model_dump_json() for s in given])
    assert warmline.read_scenarios(path) == given
    assert str(given[1].profile) == "Bo, 17"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"id": "x"', r"s\.jsonl, line 2: not JSON"),
        ('{"id": "x", "problem_type": "Burnout"}', r"line 2, field 'situation'"),
        (
            '{"id": "x", "problem_type": "Burnout", "situation": "s", "profil": "p"}',
            r"line 2, field 'profil': unknown field 'profil'; did you mean 'profile'\?",
        ),
        ('{"id": "a", "problem_type": "Burnout", "situation": "s"}', "id 'a' occurs twice"),
        ('{"id": "", "problem_type": "Burnout", "situation": "s"}', "field 'id'"),
        ("[1]", "line 2"),
    ],
)
def test_a_broken_scenario_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = write_lines(tmp_path / "s.jsonl", [scenario("a").model_dump_json(), line])
    with pytest.raises(DataError, match=message):
        warmline.read_scenarios(path)


def test_a_scenario_made_in_python_is_checked_too() -> None:
    with pytest.raises(ConfigError, match="did you mean 'situation'"):
        warmline.Scenario(id="x", problem_type="Burnout", situatoin="s")
    assert scenario().category == "Life and Work Stress"
    assert scenario(problem_type="Moving to Mars").category == ""


def test_scenarios_are_chosen_by_type_and_repeated_when_asked(tmp_path: Path) -> None:
    chosen = choose_scenarios(load_settings(given={"problem_types": ["Burnout"], "episodes": 4}))
    assert {s.problem_type for s in chosen} == {"Burnout"}
    assert len({s.id for s in chosen}) == 4
    with pytest.raises(ConfigError, match="did you mean 'Burnout'"):
        choose_scenarios(load_settings(given={"problem_types": ["Burn out"]}))
    path = write_lines(tmp_path / "s.jsonl", [s.model_dump_json() for s in scenarios(2)])
    assert [s.id for s in choose_scenarios(load_settings(given={"scenarios": str(path)}))] == [
        "s0",
        "s1",
    ]
    more = choose_scenarios(load_settings(given={"scenarios": str(path), "episodes": 3}))
    assert [s.id for s in more] == ["s0", "s1", "s0~2"]


# simulate()


def test_simulate_returns_and_logs(tmp_path: Path) -> None:
    episodes = warmline.simulate(episodes=4, policy="scripted", seed=7, out=tmp_path, max_turns=4)
    assert len(episodes) == 4
    logged = {episode.id: episode for episode in warmline.read_episodes(tmp_path)}
    assert [logged[episode.id] for episode in episodes] == episodes
    assert {e.id for e in episodes} == {s.id for s in warmline.draw_scenarios(4, seed=7)}
    assert json.loads((tmp_path / "summary.json").read_text())["episodes"] == 4


def test_simulate_repeats_itself_from_the_saved_configuration(tmp_path: Path) -> None:
    first = warmline.simulate(episodes=3, policy="scripted", seed=7, out=tmp_path, max_turns=4)
    settings = load_settings(tmp_path / "config.toml")
    assert (settings.episodes, settings.seed, settings.max_turns) == (3, 7, 4)
    assert build_environment(settings).config_hash == first[0].config_hash


def test_simulate_takes_seats_of_every_kind() -> None:
    policy = talk()
    episodes = warmline.simulate(
        policy="scripted",
        seeker=policy,
        supporter=warmline.Supporter(policy, sampling=warmline.Sampling(temperature=0.1)),
        counselor={"policy": "scripted", "temperature": 0.5},
        judger=False,
        scenarios=scenarios(2),
        max_turns=2,
    )
    calls = {call.role: call for call in episodes[0].calls}
    assert episodes[0].utterances[0].text == "I lost my job."
    assert calls["supporter"].sampling.temperature == 0.1
    assert calls["counselor"].sampling.temperature == 0.5
    assert "judger" not in calls


async def test_simulate_works_inside_a_running_loop() -> None:
    assert asyncio.get_running_loop()
    (episode,) = warmline.simulate(policy=talk(), scenarios=scenarios(1), max_turns=2)
    assert len(episode.utterances) == 2


def test_a_policy_given_as_an_object_stays_open() -> None:
    class Closing(warmline.ScriptedPolicy):
        closed = 0

        async def aclose(self) -> None:
            self.closed += 1

    policy = Closing()
    warmline.simulate(policy=policy, scenarios=scenarios(1), max_turns=2)
    assert policy.closed == 0


def test_a_judger_that_would_never_be_asked_is_refused() -> None:
    with pytest.raises(ConfigError, match="min_turns 200 is above max_turns 100"):
        load_settings(given={"min_turns": 200, "max_turns": 100})
    with pytest.raises(ConfigError, match="min_turns 30 is above max_turns 20"):
        warmline.SupportEnvironment(seeker=talk(), supporter=talk(), min_turns=30)


@pytest.mark.parametrize(
    ("problem_type", "more", "hint"),
    [
        ("Job Crisys", "", "did you mean 'Job Crisis'?"),
        ("Lost Keys", "", "for a type of your own, give its category too"),
        ("Lost Keys", ', "category": "Daily Life"', None),
    ],
)
def test_an_unknown_problem_type_in_a_file_needs_a_category(
    problem_type: str, more: str, hint: str | None, tmp_path: Path
) -> None:
    path = tmp_path / "mine.jsonl"
    line = f'{{"id": "a", "problem_type": "{problem_type}", "situation": "It is cold."{more}}}\n'
    path.write_text(line)
    if hint is None:
        assert warmline.read_scenarios(path)[0].category == "Daily Life"
        return
    with pytest.raises(DataError, match="line 1, field 'problem_type': unknown") as caught:
        warmline.read_scenarios(path)
    assert hint in str(caught.value)
