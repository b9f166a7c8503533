"""What tells two corpora apart: effect sizes against the obvious loop, planted differences."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmline.evaluation.analyses.corpus import Dialogue, corpus_of
from warmline.evaluation.analyses.separation import (
    MEASURES,
    cliffs_delta,
    separation,
    verdict,
)

from ..corpora import episode

numbers = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=8)


@given(numbers, numbers)
def test_cliffs_delta_is_the_share_of_pairs_above_less_those_below(
    a: list[float], b: list[float]
) -> None:
    signs = [(x > y) - (x < y) for x in a for y in b]
    assert cliffs_delta(a, b) == pytest.approx(sum(signs) / len(signs))


def dialogues(count: int, seed: int, thanks: float) -> tuple[Dialogue, ...]:
    draw = random.Random(seed)
    made = []
    for number in range(count):
        lines = [" ".join(["so"] * draw.randint(3, 9)) for _ in range(6)]
        lines[4] = "Thank you for this." if draw.random() < thanks else "I have to go."
        made.append(episode(f"e{number}", lines))
    return corpus_of(made, name="c").sample


def test_a_planted_difference_is_found_and_nothing_else() -> None:
    found = separation(dialogues(120, 1, 0.8), dialogues(100, 2, 0.2))
    apart = [each for each in found if each.separates]
    assert [each.measure for each in apart] == ["seeker thanks at the end"]
    assert found[0] == apart[0]
    assert apart[0].low > 0.3
    assert apart[0].size == "large"
    assert "separate on 1 of" in verdict("A", "B", found)


def test_sides_that_do_not_overlap_have_an_interval_all_the_same() -> None:
    """6 against 6, all above: delta 1, and Wilson's 60.97 % of 6 of 6 as its lower end."""
    long, short = ([Dialogue(str(n), "", "", tuple("." * n))] * 6 for n in (9, 3))  # type: ignore[arg-type]
    turns = {"turns": lambda d: float(len(d.turns))}
    [found] = separation(long, short, measures=turns)
    assert (found.delta, found.high, found.separates) == (1.0, 1.0, True)
    assert found.low == pytest.approx(2 * 0.6097 - 1, abs=1e-3)
    [equal] = separation(short, short, measures=turns)
    assert (equal.delta, equal.low, equal.separates) == (0.0, None, False)


def test_corpora_of_one_kind_do_not_separate_and_that_is_said() -> None:
    found = separation(dialogues(100, 1, 0.5), dialogues(100, 2, 0.5))
    assert verdict("A", "B", found) == (
        f"A and B do not separate: none of {len(MEASURES)} measures differs beyond chance."
    )


def test_a_measure_without_meaning_is_missing() -> None:
    unlabelled = corpus_of([episode(strategies=(None,))], name="c").sample
    labelled = corpus_of([episode()], name="c").sample
    found = {each.measure: each for each in separation(unlabelled, labelled)}
    strategies = found["distinct strategies"]
    assert (strategies.n_a, strategies.missing_a, strategies.delta) == (0, 1, None)
    assert not strategies.separates
    assert found["utterances"].delta == 0


@pytest.mark.parametrize(("measure", "value"), [
    ("utterances", 4),
    ("words a seeker utterance", 7.5),
    ("words a supporter utterance", 7),
    ("seeker's share of the words", 15 / 29),
    ("seeker's growth", 7 / 15),
    ("supporter turns that ask", 0.5),
    ("supporter turns that ask, last third", 0),
    ("seeker thanks at the end", 0),
    ("distinct strategies", 2),
    ("share of Question", 0.5),
    # bakery, closed, miss, ovens -> bakery; smell, four, morning -> none
    ("uptake of the seeker's words", (1 / 4 + 0) / 2),
    # 14 words of the supporter, of which "you" and "the" ... see below
    ("supporter's variety of words", 12 / 14**0.5),
])  # fmt: skip
def test_measures_by_hand(measure: str, value: float) -> None:
    """Supporter: what did you like most about the bakery / you miss more than the pay: "you" and
    "the" come twice, so 12 of 14 words differ."""
    [dialogue] = corpus_of([episode()], name="c").sample
    assert MEASURES[measure](dialogue) == pytest.approx(value)
