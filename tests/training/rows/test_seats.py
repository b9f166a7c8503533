"""Rows of every seat: what each role is asked in a run, what it learns, and what stays private."""

from __future__ import annotations

from typing import Any

import pytest

import warmline
from warmline.agents.roles import Role, Strategy
from warmline.core.errors import ConfigError
from warmline.core.settings import read_settings
from warmline.environments.episodes.episode import Episode, StopReason, Utterance
from warmline.environments.scenarios.scenario import UNSPECIFIED
from warmline.training.rows.build import Row, build_rows
from warmline.training.rows.seats import build_seat_rows
from warmline.training.rows.settings import SeatRowSettings

from ..building import TALK, episode

ALL = tuple(Role)
SITUATION, PROFILE = "zqx-situation", "zqx-profile"
EVERYONE = {"seats": "supporter,seeker,counselor,judger"}


def rows_by_seat(made: Episode, **given: Any) -> dict[str, list[Row]]:
    settings = read_settings(SeatRowSettings, None, EVERYONE | given)
    found: dict[str, list[Row]] = {role.value: [] for role in Role}
    for row in build_seat_rows([made], settings).rows:
        found[row.tree.rpartition("/")[2]].append(row)
    return found


async def simulated(turns: int = 10, **limits: Any) -> Episode:
    """A simulated talk with secrets in its scenario, which a judger ends after `turns` utterances."""
    policy = warmline.ScriptedPolicy(
        seeker=[f"It is hard, part {n}." for n in range(9)],
        counselor=["Question", "Information", "Others", "Reflection of Feelings"],
        supporter=[f"I hear you, part {n}." for n in range(9)],
        judger=["NO"] * (turns // 2 - 1) + ["YES"],
    )
    environment = warmline.SupportEnvironment(
        seeker=policy, counselor=policy, supporter=policy, judger=policy, **limits
    )
    scenario = warmline.Scenario(
        id="s", problem_type="Job Crisis", situation=f"{SITUATION} happened.", profile=PROFILE
    )
    return await environment.run(scenario, seed=1)


async def test_each_seat_is_asked_as_in_the_run_that_was_logged() -> None:
    played = await simulated(case_dialogues=0)
    built = rows_by_seat(played, strategy="advised")
    asked = rows_by_seat(played, as_asked=True)
    for role in ALL:
        calls = [call for call in played.calls if call.role == role]
        assert len(calls) == 5
        prompts = [played.call_messages(call) for call in calls]
        assert [row.prompt for row in built[role]] == prompts
        assert [row.prompt for row in asked[role]] == prompts
        assert [row.reply for row in built[role]] == [call.text for call in calls]


async def test_the_scenario_is_in_the_seekers_rows_alone() -> None:
    for as_asked in (True, False):
        found = rows_by_seat(await simulated(), as_asked=as_asked)
        for role, rows in found.items():
            assert rows
            texts = ["\n".join(m.content for m in row.messages) for row in rows]
            for secret in (SITUATION, PROFILE):
                assert {secret in text for text in texts} == {role == "seeker"}


async def test_advice_is_in_the_supporters_rows_and_the_counselors_answers_alone() -> None:
    found = rows_by_seat(await simulated(case_dialogues=0), strategy="advised")
    note = "your next answer should be"
    assert all(note in row.prompt[-1].content for row in found["supporter"])
    for role in ("seeker", "judger"):
        for row in found[role]:
            told = "\n".join(m.content for m in row.messages)
            assert not [s for s in Strategy if s.definition in told]
            assert note not in told


def test_labels_are_in_no_prompt_but_the_supporters() -> None:
    others = tuple((a, b, Strategy.OTHERS) for a, b, _ in TALK)
    told = {"situation": "They closed the shop."}
    one, other = (
        rows_by_seat(episode("a", talk, **told), strategy="oracle") for talk in (TALK, others)
    )
    for role in ALL:
        same = [row.prompt for row in one[role]] == [row.prompt for row in other[role]]
        assert same is (role is not Role.SUPPORTER)


def test_the_counselor_learns_the_label_and_the_judger_every_exchange() -> None:
    found = rows_by_seat(episode(situation="They closed the shop on Monday."))
    assert [row.reply for row in found["counselor"]] == [strategy.value for *_, strategy in TALK]
    assert [row.reply for row in found["judger"]] == ["NO", "NO", "YES"]
    assert [row.id for row in found["judger"]] == ["a#1/judger", "a#3/judger", "a#5/judger"]
    assert [row.reply for row in found["seeker"]] == [seeker for seeker, *_ in TALK]
    # every answer is one that the role's own agent reads
    judger = warmline.Judger(warmline.ScriptedPolicy())
    counselor = warmline.StrategyCounselor(warmline.ScriptedPolicy())
    assert [judger.read(warmline.Reply(r.reply)).end for r in found["judger"]] == [0, 0, 1]
    read = [counselor.read(warmline.Reply(row.reply)).strategy for row in found["counselor"]]
    assert read == [strategy for *_, strategy in TALK]


@pytest.mark.parametrize("stop", [StopReason.TURN_LIMIT, StopReason.LEFT, StopReason.TOKEN_BUDGET])
def test_an_end_that_is_no_verdict_gives_no_row(stop: StopReason) -> None:
    cut = episode().model_copy(update={"stop": stop})
    built = build_seat_rows([cut], SeatRowSettings(seats=("judger",)))
    assert [row.reply for row in built.rows] == ["NO", "NO"]
    assert built.faults == {"cut_short": 1}


def test_a_dialogue_that_ends_with_the_seeker_is_not_over_before() -> None:
    whole = episode()
    goodbye = Utterance(Role.SEEKER, "Thank you.", "Thank you.")
    longer = whole.model_copy(update={"utterances": (*whole.utterances, goodbye)})
    built = build_seat_rows([longer], SeatRowSettings(seats=("judger",)))
    assert [row.reply for row in built.rows] == ["NO", "NO", "NO"]


def test_what_cannot_be_learned_is_counted() -> None:
    untold = episode(situation=UNSPECIFIED)
    unlabelled = episode("b", tuple((a, b, None) for a, b, _ in TALK))
    built = build_seat_rows([untold, unlabelled], SeatRowSettings(seats=("seeker", "counselor")))
    assert built.faults == {"unknown_label": 3, "no_scenario": 1}
    refusing = SeatRowSettings(seats=("seeker",), on_bad_row="refuse")
    with pytest.raises(ConfigError, match="no scenario its source tells no situation"):
        build_seat_rows([untold], refusing)


def test_the_supporter_is_the_default_and_as_it_was() -> None:
    made = [episode("a"), episode("b")]
    assert build_seat_rows(made, SeatRowSettings()) == build_rows(made, SeatRowSettings())


def test_a_share_takes_whole_scenarios() -> None:
    talks = [episode(f"t{n}", situation=f"Story {n}.") for n in range(200)]
    again = [talk.model_copy(update={"id": f"{talk.id}~2"}) for talk in talks]
    settings = SeatRowSettings(seats=("judger=0.25", "counselor=0.25"))
    built = build_seat_rows([*talks, *again], settings).rows
    groups: dict[str, dict[str, int]] = {"judger": {}, "counselor": {}}
    for row in built:
        seat = groups[row.id.rpartition("/")[2]]
        seat[row.group] = seat.get(row.group, 0) + 1
    for counts in groups.values():
        assert set(counts.values()) == {6}  # both talks of a scenario, all three turns
        assert 30 <= len(counts) <= 70
    assert set(groups["judger"]) != set(groups["counselor"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seats": "suporter"}, "no role 'suporter'.*did you mean 'supporter'"),
        ({"seats": "seeker,seeker"}, "seeker is named twice"),
        ({"seats": "seeker=2"}, "a share is above 0 and at most 1"),
        ({"seats": "seeker=much"}, "a share is above 0 and at most 1"),
        ({"seats": ""}, "name at least one"),
        ({"seats": "seeker", "strategy": "self"}, "strategy is the supporter's"),
        ({"seats": "seeker", "case_dialogues": 1}, "case_dialogues is the supporter's"),
        ({**EVERYONE, "per": "conversation"}, "per conversation is for the supporter alone"),
    ],
)
def test_seats_that_cannot_be(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_settings(SeatRowSettings, None, given)
