"""Parsers of replies: any text gives a value that was allowed, or none."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from warmline.core.outside.text import clean_text
from warmline.policies.answers import match_choice, read_choice, read_json

from .texts import TEXTS

pytestmark = pytest.mark.fuzz
OPTIONS = ("Question", "Others", "Self-disclosure", "Providing Suggestions")
SCHEMA = {"type": "object", "properties": {"end": {"type": "boolean"}}, "required": ["end"]}


@given(TEXTS | st.sampled_from(OPTIONS).flatmap(lambda o: TEXTS.map(lambda t: o + t)))
def test_a_choice_is_one_of_the_options_or_none(text: str) -> None:
    assert match_choice(text, OPTIONS) in (*OPTIONS, None)
    assert read_choice(text, OPTIONS) in (*OPTIONS, None)


@given(TEXTS)
@example("[" * 100_000)
@example('{"end": ' + "[" * 100_000)
def test_json_fits_its_schema_or_is_none(text: str) -> None:
    found = read_json(text, SCHEMA)
    assert found is None or isinstance(found[1]["end"], bool)


@given(st.booleans(), st.sampled_from(["", "json"]), TEXTS)
def test_fenced_json_is_read(end: bool, language: str, note: str) -> None:
    written = json.dumps({"end": end, "note": note})
    found = read_json(f"```{language}\n{written}\n```", SCHEMA)
    assert found is not None
    assert found[1] == {"end": end, "note": clean_text(note)}  # halves of characters are replaced
