"""TF-IDF similarity against the obvious loops over scikit-learn, and by hand."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics.pairwise import cosine_similarity

from warmline.evaluation.analyses.similarity import (
    _draw_pairs,
    _means,
    adherence,
    mean_between,
    similarity,
    tfidf,
)

TEXTS = [
    "the bakery closed and the ovens are gone",
    "the bakery closed on monday",
    "my sister does not answer my letters",
    "my sister moved and my letters came back",
    "exams begin on monday and my notes are gone",
]
GROUPS = ["job", "job", "family", "family", "school"]


def brute(texts: list[str], groups: list[str] | None = None) -> list[float]:
    cosines = cosine_similarity(TfidfVectorizer().fit_transform(texts))
    return [
        cosines[i, j]
        for i, j in combinations(range(len(texts)), 2)
        if groups is None or groups[i] == groups[j]
    ]


def test_two_equal_texts_and_one_of_other_words_have_a_mean_of_a_third() -> None:
    """Pairs: 1, 0 and 0."""
    [rows] = tfidf(["cat dog", "cat dog", "sun moon"])
    found = similarity(rows)
    assert found.mean == pytest.approx(1 / 3)
    assert (found.documents, found.pairs, found.drawn) == (3, 3, 3)
    assert found.histogram[0] == pytest.approx(2 / 3)
    assert found.histogram[-1] == pytest.approx(1 / 3)


def test_mean_and_quantiles_are_those_of_all_pairs() -> None:
    [rows] = tfidf(TEXTS)
    found, expected = similarity(rows), brute(TEXTS)
    assert found.mean == pytest.approx(np.mean(expected))
    assert (found.p10, found.median, found.p90) == pytest.approx(
        tuple(np.quantile(expected, (0.1, 0.5, 0.9)))
    )
    assert found.low is not None
    assert found.high is not None
    assert found.low <= found.mean <= found.high


def test_one_pair_has_no_interval() -> None:
    [rows] = tfidf(["cat dog", "cat sun"])
    found = similarity(rows)
    assert (found.pairs, found.low, found.high) == (1, None, None)
    assert adherence(["the bakery closed"], ["my bakery closed"]).low is None


def test_inside_groups_only_pairs_of_one_group_count() -> None:
    [rows] = tfidf(TEXTS)
    found, expected = similarity(rows, GROUPS), brute(TEXTS, GROUPS)
    assert found.mean == pytest.approx(np.mean(expected))
    assert (found.documents, found.pairs) == (4, 2)
    assert found.p90 == pytest.approx(np.quantile(expected, 0.9))


def test_a_document_without_a_group_is_in_no_pair() -> None:
    [rows] = tfidf(TEXTS)
    found = similarity(rows, ["job", "job", None, None, None])
    assert (found.documents, found.pairs) == (2, 1)
    assert similarity(rows, [None] * 5).mean is None


def test_a_drawn_sample_of_pairs_is_close_to_all_and_the_same_each_time() -> None:
    words = [f"word{n}" for n in range(30)]
    draw = np.random.default_rng(1)
    texts = [" ".join(draw.choice(words, 12)) for _ in range(240)]
    groups = [str(number % 3) for number in range(240)]
    [rows] = tfidf(texts)
    found = similarity(rows, groups, pairs=8000, seed=3)
    assert found.drawn == 8000 < found.pairs
    assert found.mean == pytest.approx(np.mean(brute(texts, groups)))
    assert found.median == pytest.approx(np.median(brute(texts, groups)), abs=0.01)
    assert found == similarity(rows, groups, pairs=8000, seed=3)
    assert found != similarity(rows, groups, pairs=8000, seed=4)


def test_drawn_pairs_are_of_two_documents_of_one_group_and_all_are_reached() -> None:
    """Groups of 3 and 2: 4 pairs, of which the first group has three quarters of the draws."""
    labels = np.array([0, 1, 0, 1, 0])
    sizes = np.bincount(labels)
    draw = np.random.default_rng(1)
    with_all = _draw_pairs(labels, sizes, 4, 4, draw)
    drawn = _draw_pairs(labels, sizes, 4, 3, draw)
    assert {frozenset(pair) for pair in zip(*with_all, strict=True)} == {
        frozenset(pair) for pair in ((0, 2), (0, 4), (2, 4), (1, 3))
    }
    assert len(drawn[0]) == 3
    many = [_draw_pairs(labels, sizes, 4, 3, draw) for _ in range(400)]
    pairs = [frozenset(pair) for one in many for pair in zip(*one, strict=True)]
    assert {len(pair) for pair in pairs} == {2}
    for pair in set(map(frozenset, zip(*with_all, strict=True))):
        assert pairs.count(pair) / len(pairs) == pytest.approx(0.25, abs=0.05)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=5, max_size=5))
def test_a_document_drawn_twice_forms_no_pair_with_itself(weights: list[int]) -> None:
    [rows] = tfidf(TEXTS)
    cosines = (rows @ rows.T).toarray()
    pairs = list(combinations(range(5), 2))
    number = sum(weights[i] * weights[j] for i, j in pairs)
    got = _means(rows, np.zeros(5, dtype=np.intp), np.array(weights, float)[:, None])[0]
    if number == 0:
        assert not np.isfinite(got)
    else:
        expected = sum(weights[i] * weights[j] * cosines[i, j] for i, j in pairs) / number
        assert got == pytest.approx(expected)


@pytest.mark.parametrize("texts", [[], ["alone"], ["...", "!!!"]])
def test_where_there_is_no_pair_or_no_word_nothing_breaks(texts: list[str]) -> None:
    if not texts:
        assert similarity(tfidf(["a word"])[0][:0]).mean is None
        return
    found = similarity(tfidf(texts)[0])
    assert found.mean is None if len(texts) < 2 else found.mean == 0


def test_chinese_is_compared_by_characters() -> None:
    [rows] = tfidf(["我很难过", "我很难过因为工作", "猫猫"])
    found = similarity(rows)
    assert found.mean is not None
    assert 0 < found.mean < 1


def test_across_two_corpora_the_mean_is_over_all_pairs_of_both() -> None:
    left, right = tfidf(TEXTS[:2], TEXTS[2:])
    cosines = cosine_similarity(TfidfVectorizer().fit_transform(TEXTS))
    assert mean_between(left, right) == pytest.approx(cosines[:2, 2:].mean())


def test_a_dialogue_is_closer_to_its_own_scenario() -> None:
    scenarios = [TEXTS[0], TEXTS[2], TEXTS[4], " "]
    dialogues = [TEXTS[1], TEXTS[3], "exams and notes on monday", "whatever"]
    found = adherence(scenarios, dialogues)
    rows = TfidfVectorizer().fit_transform([*scenarios[:3], *dialogues[:3]])
    cosines = cosine_similarity(rows[:3], rows[3:])
    assert (found.documents, found.missing) == (3, 1)
    assert found.own == pytest.approx(np.diag(cosines).mean())
    assert found.other == pytest.approx((cosines.sum() - np.trace(cosines)) / 6)
    assert found.own > found.other


def test_without_any_scenario_adherence_is_missing() -> None:
    found = adherence(["", ""], ["a", "b"])
    assert (found.own, found.other, found.missing) == (None, None, 2)
