"""Reading answers that must have a form."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmline.core.seeds import reask_seed
from warmline.policies.answers import (
    choice_instruction,
    choice_schema,
    is_strict,
    match_choice,
    misfit,
    read_choice,
    read_json,
    with_instruction,
)
from warmline.policies.base import Message

STRATEGIES = ("Question", "Reflection of Feelings", "Providing Suggestions", "Others")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("Question", "Question"),
        ("  question.\n", "Question"),
        ('"Reflection of Feelings"', "Reflection of Feelings"),
        ("**Providing   suggestions**", "Providing Suggestions"),
        ("2. Reflection of Feelings", "Reflection of Feelings"),
        ("- Others", "Others"),
        ("3", "Providing Suggestions"),
        ("Option 3.", "Providing Suggestions"),
        ("I would choose Question here, since she has said little.", "Question"),
        ('{"choice": "Others"}', "Others"),
        ("Reflection of feelings: she is sad. Question comes later.", "Reflection of Feelings"),
        (
            "Question is too soon, and Others too. Answer: Providing Suggestions",
            "Providing Suggestions",
        ),
        ("Others rather than Question", "Others"),
        ("9", None),
        ("Question. Others.", None),
        ("Question or Others", None),
        ("Questions are good", None),
        ("", None),
        ("I am sorry to hear that", None),
    ],
)
def test_match_choice(text: str, meant: str | None) -> None:
    assert match_choice(text, STRATEGIES) == meant


def test_an_option_inside_another_is_not_counted_twice() -> None:
    assert match_choice("The feelings first: Reflection of Feelings", ("Reflection of Feelings",))
    assert match_choice("say: very happy", ("happy", "very happy")) == "very happy"
    assert match_choice("very happy, no, happy", ("happy", "very happy")) is None


def test_numbers_that_are_options_are_not_read_as_positions() -> None:
    ratings = ("5", "4", "3", "2", "1")
    assert match_choice("2", ratings) == "2"
    assert match_choice("I rate it 4 of all", ratings) == "4"
    assert "1." not in choice_instruction(ratings)


def test_options_in_a_script_without_spaces() -> None:
    assert match_choice("我觉得应该选提问比较好", ("提问", "建议")) == "提问"


def test_options_that_differ_only_in_case_need_the_very_words() -> None:
    assert match_choice("a", ("A", "a")) == "a"
    assert match_choice("'a'.", ("A", "a")) == "a"
    assert match_choice("1. a", ("A", "a")) is None
    assert match_choice("I say a", ("A", "a")) is None
    assert match_choice("", (".", "!")) is None


@given(st.text(), st.lists(st.text(min_size=1), min_size=1, max_size=5, unique=True))
def test_match_choice_never_invents_and_knows_the_very_words(text: str, options: list[str]) -> None:
    assert match_choice(text, options) in (*options, None)
    stripped = [option for option in options if option == option.strip()]
    for option in stripped:
        assert match_choice(f" {option}\n", options) == option


def test_the_instruction_joins_the_last_user_message() -> None:
    system, user = Message("system", "s"), Message("user", "u")
    joined = with_instruction([system, user], "now")
    assert joined == [system, Message("user", "u\n\nnow")]
    assert with_instruction([system], "now") == [system, Message("user", "now")]


def test_read_choice() -> None:
    assert read_choice('{"choice": "Others"}', STRATEGIES) == "Others"
    assert read_choice('```json\n{\n"choice" : "Others" }\n```', STRATEGIES) == "Others"
    for text in (
        '{"choice": "others"}',
        '{"choice": "Others", "why": 1}',
        "Others",
        '"Others"',
        "{",
    ):
        assert read_choice(text, STRATEGIES) is None


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "score": {"type": "integer"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "note": {"type": ["string", "null"]},
    },
    "required": ["score"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"score": 3, "tags": ["a"], "note": None}, None),
        ({"score": 3.0}, None),
        ({}, "$ lacks 'score'"),
        ({"score": "3"}, "$.score is not of type integer"),
        ({"score": True}, "$.score is not of type integer"),
        ({"score": 1, "tags": ["a", 2]}, "$.tags[1] is not of type string"),
        ({"score": 1, "note": 2}, "$.note is not of type string or null"),
        ({"score": 1, "more": 2}, "$ has an unknown 'more'"),
        ([], "$ is not of type object"),
    ],
)
def test_misfit(value: Any, problem: str | None) -> None:
    assert misfit(value, SCHEMA) == problem


def test_read_json_gives_the_text_without_its_fence() -> None:
    assert read_json('```\n{"score": 1}\n```', SCHEMA) == ('{"score": 1}', {"score": 1})
    assert read_json("score: 1", SCHEMA) is None


def test_strict_only_where_openai_takes_it() -> None:
    assert is_strict(choice_schema(STRATEGIES))
    assert not is_strict(SCHEMA), "tags and note are optional"
    assert not is_strict({"type": "array", "items": {"type": "object", "properties": {}}})


def test_derived_seeds_differ_and_repeat() -> None:
    seeds = [reask_seed(7, nth) for nth in range(50)]
    assert seeds[0] == 7
    assert len(set(seeds)) == 50
    assert seeds == [reask_seed(7, nth) for nth in range(50)]
    assert reask_seed(None, 3) is None
