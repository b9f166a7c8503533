"""The sentence cap, for any text and any way in which a text may grow."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from warmline.policies.text.scanner import SentenceScanner
from warmline.policies.text.sentences import (
    SentenceLimit,
    cap_sentences,
    count_sentences,
    split_sentences,
)

from .texts import TEXTS

pytestmark = pytest.mark.fuzz
LIMITS = st.integers(1, 4)


@given(TEXTS, LIMITS)
@example("[No. 1」!? é1. 2)", 1)
@example("1. • …ok? U.S. (a) ।;。", 1)
@example("(a) (a) (a) I am sad", 1)
@example("I am sad. I am sad. I am sadNo. 1! 1. ", 4)
def test_the_cap_holds_and_is_idempotent(text: str, limit: int) -> None:
    capped, cut = cap_sentences(text, limit)
    assert count_sentences(capped) <= limit
    assert cap_sentences(capped, limit) == (capped, 0)
    assert text.strip().startswith(capped)
    assert (cut == 0) == (capped == text.strip())
    assert "".join(split_sentences(text)) == (text if text.strip() else "")


@given(TEXTS, st.lists(st.integers(1, 9), min_size=1, max_size=8))
@example("e.g. دعم।[1]4. *Yahoo! 「? ", [1])
@example("\ud83d'No. 1*\xa0😢 A'(a) 5.I am sad", [1])
def test_decisions_do_not_depend_on_how_the_text_comes(text: str, steps: list[int]) -> None:
    whole, pieces = SentenceScanner(), SentenceScanner()
    whole.feed(text)
    whole.finish()
    at, turn = 0, 0
    while at < len(text):
        step = steps[turn % len(steps)]
        pieces.feed(text[at : at + step])
        assert pieces.boundaries == whole.boundaries[: len(pieces.boundaries)], "decided too early"
        at, turn = at + step, turn + 1
    pieces.finish()
    assert pieces.boundaries == whole.boundaries


@given(TEXTS, LIMITS)
@example("“No. 1” is what he said. So", 1)
@example('He said "No. Never. Not you. Ok?" and left. I cried. Then', 2)
@example("6'2\" tall. He is. 5'4\" she. And then. Or", 2)
@example("She cried. ' 6'2\" ", 1)
def test_a_stopped_answer_is_capped_as_the_whole_one(text: str, limit: int) -> None:
    reached = SentenceLimit(limit)
    stopped = next((text[:end] for end in range(len(text) + 1) if reached(text[:end])), None)
    if stopped is not None:
        assert cap_sentences(stopped, limit)[0] == cap_sentences(text, limit)[0]


@given(TEXTS, TEXTS, LIMITS)
@example("I am sad。" + " " * 299, " " * 299 + "I am sad", 1)
def test_a_watch_may_be_shown_any_other_text(first: str, second: str, limit: int) -> None:
    reached = SentenceLimit(limit)
    for text in (first, first[: len(first) // 2], second):
        assert reached(text) == SentenceLimit(limit)(text)
