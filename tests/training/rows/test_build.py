"""Rows: shapes, windows, strategies, what is private, and bad rows."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import warmline
from warmline.agents.roles import Role, Strategy
from warmline.agents.speech import read_speech
from warmline.core.errors import ConfigError
from warmline.environments.episodes.episode import Episode, Utterance
from warmline.policies.base import Message
from warmline.training.rows.build import Row, build_rows, rows_of, strategy_of, template_of
from warmline.training.rows.settings import RowSettings
from warmline.training.sft.settings import SftSettings

from ..building import TEMPLATE, episode

SHORT = {"template": TEMPLATE}


def chat(row: Row) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in row.messages]


def test_a_row_for_each_turn_of_the_supporter() -> None:
    rows = build_rows([episode()], RowSettings(strategy="oracle", **SHORT)).rows
    assert [row.id for row in rows] == ["a#1", "a#3", "a#5"]
    assert chat(rows[1]) == [
        ("system", "Help with Job Crisis."),
        ("user", "I lost my job on Monday."),
        ("assistant", "What happened there?"),
        ("user", "They closed the shop.\n\n(Reflection of Feelings)"),
        ("assistant", "You sound shaken by it."),
    ]
    assert rows[1].trained == (4,)
    assert rows[1].strategy is Strategy.REFLECTION
    assert rows[1].as_trl() == {
        "prompt": [{"role": r, "content": c} for r, c in chat(rows[1])[:-1]],
        "completion": [{"role": "assistant", "content": "You sound shaken by it."}],
    }


def test_a_row_for_the_whole_conversation() -> None:
    oracle = RowSettings(per="conversation", strategy="oracle", **SHORT)
    (row,) = build_rows([episode()], oracle).rows
    assert row.trained == (2, 4, 6)
    assert chat(row)[1:5] == [
        ("user", "I lost my job on Monday.\n\n(Question)"),
        ("assistant", "What happened there?"),
        ("user", "They closed the shop.\n\n(Reflection of Feelings)"),
        ("assistant", "You sound shaken by it."),
    ]
    assert row.as_trl() == {"messages": [{"role": r, "content": c} for r, c in chat(row)]}


@pytest.mark.parametrize("window", [1, 2, 3, 6])
def test_the_history_window(window: int) -> None:
    row = build_rows([episode()], RowSettings(history_window=window, **SHORT)).rows[-1]
    shown = [content for _, content in chat(row)[1:-1] if content != "(Begin.)"]
    assert len(shown) == min(window, 5)


def test_the_strategy_is_noted_hidden_or_written_first() -> None:
    shown, hidden, first = (
        build_rows([episode()], RowSettings(strategy=how, **SHORT)).rows[0]
        for how in ("oracle", "hidden", "self")
    )
    assert chat(shown)[-2:] == [
        ("user", "I lost my job on Monday.\n\n(Question)"),
        ("assistant", "What happened there?"),
    ]
    assert chat(hidden)[-2:] == [
        ("user", "I lost my job on Monday."),
        ("assistant", "What happened there?"),
    ]
    assert chat(first)[-2:] == [
        ("user", "I lost my job on Monday."),
        ("assistant", "[Question] What happened there?"),
    ]
    # a seated supporter that writes so is understood
    assert read_speech(first.reply, Role.SUPPORTER).text == "What happened there?"


@pytest.mark.parametrize("how", ["oracle", "hidden", "listed", "self"])
@pytest.mark.parametrize("defined", [True, False])
def test_the_system_prompt_with_and_without_definitions(how: str, defined: bool) -> None:
    settings = RowSettings(strategy=how, definitions=defined)
    system = build_rows([episode()], settings).rows[0].messages[0].content
    assert all((s.definition in system) is defined for s in Strategy)
    assert ("in square brackets" in system) is (how == "self")
    # the same template seats the trained model
    seated = warmline.Supporter(warmline.ScriptedPolicy(), template=template_of(settings))
    row = build_rows([episode()], settings).rows[0]
    observation = warmline.agents.SupporterObservation(
        warmline.agents.SupporterBrief("Job Crisis"),
        (warmline.agents.Turn(Role.SEEKER, "I lost my job on Monday."),),
        Strategy.QUESTION if how == "oracle" else None,
    )
    assert seated.request(observation, max_sentences=3).messages == row.prompt


def test_of_several_labels_the_first_counts_by_default() -> None:
    both = (Strategy.QUESTION, Strategy.OTHERS)
    utterance = Utterance(Role.SUPPORTER, "Hi?", "Hi?", strategy=both[0], labels=both)
    assert strategy_of(utterance) is Strategy.QUESTION
    assert strategy_of(utterance, "last") is Strategy.OTHERS
    talk = episode().model_copy(update={"utterances": (episode().utterances[0], utterance)})
    for label, strategy in (("first", both[0]), ("last", both[1])):
        assert rows_of(talk, RowSettings(label=label))[0][0].strategy is strategy


def test_two_turns_of_the_supporter_in_a_row() -> None:
    more = Utterance(Role.SUPPORTER, "Take your time.", "-", strategy=Strategy.OTHERS)
    talk = episode()
    talk = talk.model_copy(update={"utterances": (*talk.utterances[:2], more)})
    (row,) = rows_of(talk, RowSettings(per="conversation", strategy="hidden", **SHORT))[0]
    assert chat(row)[2:] == [
        ("assistant", "What happened there?"),
        ("user", "(Go on.)"),
        ("assistant", "Take your time."),
    ]
    assert row.trained == (2, 4)


# Private text

SECRET = "zqx-secret"


async def simulated() -> Episode:
    """A simulated episode with secrets wherever a target or prompt must not take from."""
    policy = warmline.ScriptedPolicy(
        seeker=["It is hard."], counselor=["Question"], judger=["NO"],
        supporter=["Supporter: What is hard? \n\nSeeker: " + SECRET],
    )  # fmt: skip
    environment = warmline.SupportEnvironment(
        seeker=policy, counselor=policy, supporter=policy, judger=policy, max_turns=6
    )
    scenario = warmline.Scenario(
        id="s", problem_type="Job Crisis", situation=SECRET, profile=f"{SECRET} too"
    )
    played = await environment.run(scenario, seed=1)
    calls = tuple(dataclasses.replace(call, notes={"best_of": SECRET}) for call in played.calls)
    return played.model_copy(update={"calls": calls})


@pytest.mark.parametrize(
    ("as_asked", "per"), [(True, "turn"), (False, "turn"), (False, "conversation")]
)
async def test_private_text_is_in_no_row(as_asked: bool, per: str) -> None:
    played = await simulated()
    assert SECRET in played.to_json()
    rows = build_rows([played], RowSettings(as_asked=as_asked, per=per)).rows
    assert rows
    assert not [m for row in rows for m in row.messages if SECRET in m.content]


async def test_as_asked_takes_the_logged_messages() -> None:
    played = await simulated()
    rows = build_rows([played], RowSettings(as_asked=True)).rows
    calls = [call for call in played.calls if call.role == "supporter"]
    assert [row.prompt for row in rows] == [played.call_messages(call) for call in calls]
    assert "Example 1" in rows[0].prompt[0].content
    # an imported dialogue has no calls: it is rendered
    recorded = build_rows([episode()], RowSettings(as_asked=True)).rows
    assert recorded == build_rows([episode()], RowSettings()).rows


async def test_rendered_rows_equal_what_was_asked_but_for_the_cases() -> None:
    played = await simulated()
    asked = build_rows([played], RowSettings(as_asked=True)).rows
    built = build_rows([played], RowSettings(case_dialogues=3, strategy="advised")).rows
    assert [row.messages for row in built] == [row.messages for row in asked]


# Bad rows


def test_bad_rows_are_counted_named_and_skipped() -> None:
    empty = episode("empty", (("Hello.", "  ", Strategy.QUESTION), *episode_talk()))
    unknown = episode("unknown", (("Hello.", "Hi.", None), *episode_talk()))
    silent = episode("silent", ())
    rows = build_rows([empty, unknown, silent, episode()], RowSettings(strategy="oracle", **SHORT))
    assert rows.faults == {"empty_reply": 1, "unknown_label": 1, "no_supporter_turn": 1}
    assert [bad.id for bad in rows.bad] == ["empty#1", "unknown#1", "silent"]
    assert [row.id for row in rows.rows] == ["empty#3", "unknown#3", "a#1", "a#3", "a#5"]


def episode_talk() -> tuple[tuple[str, str, Strategy | None], ...]:
    return (("And?", "Well.", Strategy.OTHERS),)


def test_bad_rows_can_be_refused() -> None:
    unknown = episode("unknown", (("Hello.", "Hi.", None), *episode_talk()))
    with pytest.raises(ConfigError, match=r"1 rows cannot be used\n  - unknown#1: unknown label"):
        build_rows([unknown], RowSettings(strategy="oracle", on_bad_row="refuse"))


def test_a_source_without_any_labels_is_no_fault_unless_they_are_needed() -> None:
    plain = episode("plain", (("Hello.", "Hi.", None),))
    assert not build_rows([plain], RowSettings()).bad
    assert build_rows([plain], RowSettings(strategy="self")).faults == {"unknown_label": 1}


def test_an_unknown_label_stays_in_a_conversation_as_context() -> None:
    talk = episode("a", (("Hello.", "Hi.", None), *episode_talk()))
    oracle = RowSettings(per="conversation", strategy="oracle", **SHORT)
    (row,) = rows_of(talk, oracle)[0]
    assert row.messages[2] == Message("assistant", "Hi.")
    assert row.trained == (4,)


def test_settings_that_contradict_one_another() -> None:
    with pytest.raises(ConfigError, match="strategy cannot be changed; as_asked"):
        RowSettings(as_asked=True, strategy="hidden", template="supporter.jinja")
    with pytest.raises(ConfigError, match="history_window is for rows of turns"):
        RowSettings(per="conversation", history_window=4)
    with pytest.raises(ConfigError, match="did you mean 'history_window'"):
        RowSettings(histor_window=4)


def test_presets() -> None:
    paper = SftSettings()
    assert (paper.lora_r, paper.learning_rate, paper.epochs, paper.patience) == (8, 3e-5, 5, 7)
    assert (paper.warmup, paper.batch_size, paper.lora_targets) == (0.01, 2, ("attention",))
    m0 = SftSettings(preset="m0", replay="alpaca.json", epochs=1)
    assert (m0.learning_rate, m0.batch_size, m0.accumulation, m0.patience) == (5e-6, 4, 2, 3)
    assert (m0.lora_targets, m0.replay_rows, m0.epochs) == (("all-linear",), 500, 1)


words = st.text(alphabet="abc .?!\n", max_size=12)


@given(st.lists(st.tuples(words, words, st.sampled_from([None, *Strategy])), max_size=5))
def test_every_row_ends_in_what_was_said(talk: list[tuple[str, str, Strategy | None]]) -> None:
    made = episode("x", tuple(talk))
    for how in ("oracle", "hidden", "listed"):
        rows, bad = rows_of(made, RowSettings(strategy=how, **SHORT))
        by_turn = {row.id: row for row in rows}
        assert len(rows) + len(bad) == max(1, len(talk))
        for n, utterance in enumerate(made.utterances):
            if (row := by_turn.get(f"x#{n}")) is not None:
                assert row.reply == utterance.text.strip()
                roles = [message.role for message in row.messages]
                assert roles[0] == "system"
                assert all(a != b for a, b in pairwise(roles))


# Strategy conditions


async def test_listed_names_the_eight_and_no_note() -> None:
    for row in build_rows([episode()], RowSettings()).rows:
        system, *rest = row.prompt
        assert all(strategy.value in system.content for strategy in Strategy)
        assert "which one" not in system.content
        assert not [m for m in rest if row.strategy and row.strategy.value in m.content]


async def test_advised_shows_what_the_counselor_said_and_never_a_label() -> None:
    played = await simulated()
    rows = build_rows([played], RowSettings(strategy="advised")).rows
    assert all("your next answer should be Question" in r.prompt[-1].content for r in rows)
    recorded = build_rows([episode()], RowSettings(strategy="advised"))
    assert not recorded.rows
    assert recorded.faults == {"no_advice": 3}


async def test_a_strategy_that_the_model_wrote_is_recorded_as_its_own() -> None:
    policy = warmline.ScriptedPolicy(
        seeker=["It is hard."], supporter=["[Question] What is hard?", "Go on."]
    )
    environment = warmline.SupportEnvironment(
        seeker=policy, supporter=warmline.Supporter(policy, template="supporter_first.jinja"),
        max_turns=4,
    )  # fmt: skip
    scenario = warmline.Scenario(id="s", problem_type="Job Crisis", situation="It is over.")
    played = Episode.model_validate_json((await environment.run(scenario, seed=1)).to_json())
    first, second = played.utterances[1], played.utterances[3]
    assert (first.text, first.strategy, first.strategy_source) == (
        "What is hard?", Strategy.QUESTION, "model",
    )  # fmt: skip
    assert (second.strategy, second.strategy_source) == (None, None)
    advised = build_rows([played], RowSettings(strategy="advised")).rows
    assert "your next answer should be" not in advised[0].prompt[-1].content


def test_conditions_have_their_earlier_names() -> None:
    assert RowSettings(strategy="shown") == RowSettings(strategy="oracle")
    assert RowSettings(strategy="first") == RowSettings(strategy="self")
    with pytest.raises(ConfigError, match="'hidden', 'listed', 'self', 'advised' or 'oracle'"):
        RowSettings(strategy="all")
