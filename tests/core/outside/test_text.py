"""Text from outside: storable where it is read, harmless where it is shown."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmline.core.jsonl import parse_json, storable_json
from warmline.core.outside.text import clean_data, clean_text, printable

ANYTHING = st.text(st.characters(exclude_categories=()))
"""Any characters, lone halves included."""


def test_a_lone_half_is_replaced_and_two_halves_are_joined() -> None:
    assert clean_text("a \ud800 b") == "a � b"
    assert clean_text("\ud83d\ude42 \ud83d") == "🙂 �"
    assert clean_data({"\udfff": ["\ud800", 1, None]}) == {"�": ["�", 1, None]}


@given(ANYTHING)
def test_cleaned_text_can_be_stored_and_is_not_cleaned_twice(text: str) -> None:
    clean = clean_text(text)
    assert clean.encode().decode() == clean == clean_text(clean)


@given(ANYTHING)
def test_printable_text_commands_no_terminal(text: str) -> None:
    shown = printable(text)
    assert len(shown) == len(text)
    assert not any(c < " " and c not in "\n\t" for c in shown)
    assert not set(shown) & {*map(chr, range(0x7F, 0xA0)), *"\u202a\u202b\u202c\u202d\u202e\u2066"}
    shown.encode()


def test_printable_text_shows_what_was_there() -> None:
    assert printable("\x1b]52;c;aGk=\x07") == "␛]52;c;aGk=␇"
    assert printable("pay \u202eevil\r") == "pay �evil␍"
    assert printable("Não 很 😊 שלום\n\tdone") == "Não 很 😊 שלום\n\tdone"


@given(st.recursive(ANYTHING, lambda inner: st.lists(inner, max_size=3), max_leaves=5))
def test_escaped_halves_in_json_are_replaced_and_nothing_else(value: object) -> None:
    text = json.dumps(value)
    assert parse_json(text) == clean_data(value)
    assert storable_json(storable_json(text)) == storable_json(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"\ud83d\ude42"', "🙂"),
        (r'"\\ud800"', r"\ud800"),
        (r'"\\\ud800"', "\\�"),
        (r'"\ud800\ud83d\ude42"', "�🙂"),
        (r'"\uDFFF\uD800"', "��"),
    ],
)
def test_escapes_are_told_apart(text: str, value: str) -> None:
    assert parse_json(text) == value


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, b"\xff", "{"])
def test_json_that_cannot_be_read_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"nested too deeply|digits|codec|Expecting"):
        parse_json(text)
