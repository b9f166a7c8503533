"""Choice of strategy: sklearn's accuracy and F1, preferences worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from warmline import Strategy
from warmline.core.errors import ConfigError
from warmline.evaluation.metrics.presets import scores_of
from warmline.evaluation.metrics.strategy import (
    SIZE,
    confusion,
    measure_strategies,
    preference_bias,
    preferences,
)

A, B, C = Strategy.QUESTION, Strategy.SUGGESTION, Strategy.OTHERS
choices = st.lists(
    st.tuples(st.sampled_from(list(Strategy)), st.sampled_from(list(Strategy))),
    min_size=1,
    max_size=40,
)


@settings(deadline=None)
@given(choices)
def test_accuracy_and_f1_are_sklearns(pairs: list[tuple[Strategy, Strategy]]) -> None:
    gold, chosen = [g for g, _ in pairs], [c for _, c in pairs]
    accuracy, macro, _ = measure_strategies(gold, chosen)
    assert accuracy.value.value == pytest.approx(100 * accuracy_score(gold, chosen))
    expected = f1_score(gold, chosen, average="macro", zero_division=0)
    assert macro.value.value == pytest.approx(100 * expected)


def test_unreadable_choices_are_missing_not_wrong() -> None:
    """Right, unreadable, wrong: one of two."""
    found = scores_of(measure_strategies([A, B, B], [A, None, A]), count=3, resamples=0)
    assert (found[0].value, found[0].n, found[0].missing) == (50.0, 2, 1)
    nothing = scores_of(measure_strategies([A, B], [None, None]), count=2, resamples=0)
    assert [(s.value, s.n, s.missing) for s in nothing] == [(None, 0, 2)] * 3


def test_preference_by_hand() -> None:
    """A chosen three times for B, B once for A: strengths 3 : 1, scaled 1.5 : 0.5, bias 0.5."""
    gold = [B, B, B, A, A, B]
    chosen = [A, A, A, B, A, B]
    table = _table(gold, chosen)
    found = preferences(table)
    places = {s: i for i, s in enumerate(Strategy)}
    assert found[places[A]] == pytest.approx(1.5)
    assert found[places[B]] == pytest.approx(0.5)
    assert np.isnan(found).sum() == SIZE - 2
    assert preference_bias(table) == pytest.approx(0.5)
    assert measure_strategies(gold, chosen)[2].value.value == pytest.approx(0.5)


def test_a_model_without_favourite_has_no_bias() -> None:
    table = np.ones((SIZE, SIZE))
    assert preferences(table) == pytest.approx(np.ones(SIZE))
    assert preference_bias(table) == pytest.approx(0, abs=1e-9)


def test_planted_preferences_are_found() -> None:
    """Confusions drawn so that i is chosen for j in the share p_i / (p_i + p_j)."""
    planted = np.array([2.4, 1.6, 1.2, 1.0, 0.8, 0.5, 0.3, 0.2])
    share = planted[:, None] / (planted[:, None] + planted[None, :])
    assert preferences(1000 * share.T) == pytest.approx(planted, rel=1e-4)


def test_a_strategy_never_chosen_has_no_strength_and_one_never_lost_is_undefined() -> None:
    table = _table([A, A, B, C, C], [B, B, A, A, B])
    found = preferences(table)
    assert found[list(Strategy).index(C)] == pytest.approx(0, abs=1e-6)
    assert preference_bias(_table([B, B, A], [A, A, A])) is None
    assert preference_bias(_table([A, B], [A, B])) is None


def test_confusion_names_both_sides() -> None:
    table = confusion([A, A, B], [A, B, None])
    assert table["Question"]["Question"] == 1
    assert table["Question"]["Providing Suggestions"] == 1
    assert sum(map(sum, (row.values() for row in table.values()))) == 2


def test_an_interval_stands_beside_each() -> None:
    gold, chosen = [A, B, C, A] * 10, [A, A, B, C] * 10
    found = scores_of(
        measure_strategies(gold, chosen), count=40, groups=[i // 5 for i in range(40)]
    )
    assert all(s.interval.low <= s.value <= s.interval.high for s in found[:2])
    assert [s.interval.method for s in found] == ["wilson", "percentile", "percentile"]
    with pytest.raises(ConfigError, match="2 strategies in the corpus but 1 predicted"):
        measure_strategies([A, B], [A])


def _table(gold: list[Strategy], chosen: list[Strategy]) -> np.ndarray:
    rows = confusion(gold, chosen)
    return np.array([list(row.values()) for row in rows.values()], dtype=float)
