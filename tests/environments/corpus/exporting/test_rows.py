"""Row shapes: pure functions."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from warmline.agents.roles import Strategy
from warmline.environments.corpus.exporting.rows import prompt_completion_rows, rows_of

from ..reviewed import LINES, episode

TEXTS = [line[1] for line in LINES]


def chat(*texts: str) -> list[dict[str, str]]:
    """Alternating messages, the user's first."""
    return [
        {"role": ("user", "assistant")[number % 2], "content": text}
        for number, text in enumerate(texts)
    ]


def test_messages_are_trls_conversational_shape() -> None:
    assert rows_of(episode("e"), "messages") == [{"messages": chat(*TEXTS)}]


def test_prompt_completion_has_one_row_for_each_supporter_turn() -> None:
    rows = rows_of(episode("e"), "prompt_completion")
    assert [len(row["prompt"]) for row in rows] == [1, 3, 5]
    assert [row["completion"] for row in rows] == [
        [{"role": "assistant", "content": text}] for text in TEXTS[1::2]
    ]
    assert rows[2]["prompt"] == chat(*TEXTS[:5])


@pytest.mark.parametrize(("history", "lengths"), [(1, [1, 1, 1]), (2, [1, 1, 1]), (3, [1, 3, 3])])
def test_the_window_keeps_the_latest_and_starts_with_the_user(
    history: int, lengths: list[int]
) -> None:
    rows = prompt_completion_rows(episode("e"), history=history)
    assert [len(row["prompt"]) for row in rows] == lengths
    assert {row["prompt"][0]["role"] for row in rows} == {"user"}
    assert rows[2]["prompt"][-1]["content"] == TEXTS[4]


def test_sharegpt_names_its_speakers_human_and_gpt() -> None:
    (row,) = rows_of(episode("e"), "sharegpt")
    assert row["conversations"][:2] == [
        {"from": "human", "value": TEXTS[0]},
        {"from": "gpt", "value": TEXTS[1]},
    ]


def test_strategies_are_shown_only_when_asked_for() -> None:
    hidden, shown = (rows_of(episode("e"), "messages", strategy=on)[0] for on in (False, True))
    assert shown["messages"][1]["content"] == f"[Question] {TEXTS[1]}"
    assert shown["messages"][0]["content"] == TEXTS[0]
    assert "[" not in json.dumps([m["content"] for m in hidden["messages"]])[1:-1]


def test_speakers_are_joined_and_greetings_of_the_supporter_left_out() -> None:
    lines = [
        ("supporter", "Hello."),
        ("seeker", "Hi."),
        ("seeker", "I am tired."),
        ("supporter", "Since when?"),
        ("seeker", "May."),
    ]
    talk = episode("e", *lines)
    (row,) = rows_of(talk, "messages")
    assert row["messages"] == chat("Hi. I am tired.", "Since when?", "May.")
    (pair,) = rows_of(talk, "prompt_completion")
    assert pair == {"prompt": chat("Hi. I am tired."), "completion": [row["messages"][1]]}
    (whole,) = rows_of(talk, "dialogues")
    assert [turn["text"] for turn in whole["dialogue"]] == [text for _, text in lines]


def test_a_dialogue_without_an_answer_gives_no_training_row() -> None:
    talk = episode("e", ("supporter", "Hello."), ("seeker", "Hi."))
    assert [rows_of(talk, shape) for shape in ("messages", "prompt_completion", "sharegpt")] == [
        [],
        [],
        [],
    ]


@pytest.mark.parametrize("shape", ["messages", "prompt_completion", "sharegpt", "dialogues"])
def test_what_is_private_is_a_column_or_nowhere(shape: str) -> None:
    talk = episode("e")
    assert "Ada" not in json.dumps(rows_of(talk, shape))
    for row in rows_of(talk, shape, scenario=True):
        assert row.pop("profile") == "Ada, 44, runs a café"
        assert row.pop("scenario") == talk.scenario.situation
        assert "landlord" not in json.dumps(row)
        assert "Ada" not in json.dumps(row)


def test_all_labels_of_an_utterance_are_kept_in_order() -> None:
    both = (Strategy.QUESTION, Strategy.OTHERS)
    talk = episode("e")
    said = replace(talk.utterances[1], labels=both)
    talk = talk.model_copy(update={"utterances": (talk.utterances[0], said, *talk.utterances[2:])})
    turns = rows_of(talk, "dialogues")[0]["dialogue"]
    assert [turn["strategies"] for turn in turns[:4]] == [
        [],
        ["Question", "Others"],
        [],
        ["Reflection of Feelings"],
    ]
    assert (turns[0]["strategy"], turns[1]["strategy"]) == (None, "Question")


def test_ids_name_the_dialogue_and_the_row() -> None:
    rows = rows_of(episode("e~2"), "prompt_completion", ids=True)
    assert [(row["id"], row["turn"]) for row in rows] == [("e~2", 0), ("e~2", 1), ("e~2", 2)]
