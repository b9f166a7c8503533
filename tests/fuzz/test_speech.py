"""Reading what a role wrote never fails, and reads its own result as it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmline.agents.roles import Role
from warmline.agents.speech import is_farewell, read_speech, strip_greeting
from warmline.environments.corpus.cleaning.filters.leaks import without_labels

from .texts import TEXTS

pytestmark = pytest.mark.fuzz
SPEAKERS = st.sampled_from([Role.SEEKER, Role.SUPPORTER])


@given(TEXTS, SPEAKERS)
def test_what_is_read_is_a_part_of_what_was_written(text: str, role: Role) -> None:
    said = read_speech(text, role)
    assert said.text in text
    assert said.text == said.text.strip()
    assert not said.text.endswith("\n")
    if not said.repairs and not said.closes:
        assert said.text == text.strip()


@given(TEXTS, SPEAKERS)
def test_filters_and_repairs_take_any_text(text: str, role: Role) -> None:
    rest, reason = without_labels(text, role)
    assert reason is not None or rest == text
    assert not (is_farewell(text) and text.rstrip().endswith(("?", "？")))
    left = strip_greeting(text)
    assert left == text or text.casefold().endswith(left.casefold())
