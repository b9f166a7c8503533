"""Splitting, capping and watching cost as much as reading the text once, whatever it is made of."""

from __future__ import annotations

import time

import pytest

from warmline.policies.text.scanner import SentenceScanner
from warmline.policies.text.sentences import SentenceLimit, cap_sentences, count_sentences

HOSTILE = {
    "lines": "a\n" * 20_000,
    "blank lines": "a" + "\n" * 20_000 + "b",
    "full stops": ". " * 100_000,
    "brackets": "(" * 50_000,
    "quotation marks": '"a ' * 20_000,
    "apostrophes": "'a " * 20_000,
    "one word": "a" * 200_000,
    "white space": " " * 200_000,
    "no spaces": "ok.thanks." * 10_000,
    "initials": "A. " * 20_000,
    "numbers": "1) " * 20_000,
    "faces": "😢 " * 20_000,
    "dots": "." * 100_000,
}
SECONDS = 4.0
"""Processor time; the least of these took 10 s and more before, and takes a fraction of one now."""


@pytest.mark.parametrize("name", HOSTILE)
def test_capping_any_text_is_linear(name: str) -> None:
    started = time.process_time()
    capped, _ = cap_sentences(HOSTILE[name], 3)
    assert count_sentences(capped) <= 3
    assert time.process_time() - started < SECONDS


@pytest.mark.parametrize("name", HOSTILE)
def test_each_place_is_examined_a_bounded_number_of_times(name: str) -> None:
    text = HOSTILE[name][:20_000]
    at_once, by_token = SentenceScanner(), SentenceScanner()
    at_once.feed(text)
    at_once.finish()
    for start in range(0, len(text), 4):
        by_token.feed(text[start : start + 4])
    by_token.finish()
    assert at_once.steps <= len(text) + 2
    assert by_token.steps <= at_once.steps + 2 * (len(text) / 4 + 1)
    assert by_token.boundaries == at_once.boundaries


def test_memory_does_not_grow_with_the_text() -> None:
    scanner = SentenceScanner()
    for _ in range(20_000):
        scanner.feed("I cry. ")
    assert len(scanner._text) < 10_000


def test_a_streamed_poem_without_full_stops_is_looked_at_once() -> None:
    poem = "soft rain upon the window and\nall the night is long so\n" * 75
    reached = SentenceLimit(3)
    for end in range(4, len(poem), 4):
        assert not reached(poem[:end])
    assert reached._scanner.steps < len(poem)
