"""Figures of choices by hand, and against the evaluation's own where both measure the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmline.agents.roles import Strategy
from warmline.evaluation.metrics import strategy as strategies
from warmline.evaluation.metrics.presets import scores_of
from warmline.evaluation.metrics.strategy import measure_strategies
from warmline.training.heads.metrics import (
    calibration_error,
    confusion,
    macro_f1,
    measure,
    preference_bias,
    preferences,
    reliability,
)


def test_accuracy_of_the_first_and_of_any_label() -> None:
    """Right are 0; 1 or 2; 2. Chosen 0, 2, 0: first labels 1 of 3, any label 2 of 3."""
    found = measure([(0,), (1, 2), (2,)], [0, 2, 0], 3)
    assert found.accuracy == pytest.approx(1 / 3)
    assert found.accuracy_any == pytest.approx(2 / 3)
    assert found.table == [[1, 0, 0], [0, 0, 1], [1, 0, 0]]
    assert found.ece is None
    assert found.nll is None


def test_macro_f1_by_hand() -> None:
    """Option 0: 2·1/(2·1 + 1) = 2/3; 1: 0; 2: 0; 3 does not occur: mean 2/9."""
    table = confusion([0, 1, 2], [0, 2, 0], 4)
    assert macro_f1(table) == pytest.approx(2 / 9)
    assert macro_f1(confusion([], [], 4)) is None


def test_preferences_by_hand() -> None:
    """0 chosen three times for 1, and 1 once for 0: strengths 3 : 1, scaled 1.5 and 0.5."""
    table = [[5, 1, 0], [3, 5, 0], [0, 0, 2]]
    assert preferences(table) == [pytest.approx(1.5), pytest.approx(0.5), None]
    assert preference_bias(table) == pytest.approx(0.5)
    assert preference_bias([[0, 0], [3, 0]]) is None, "one side never loses"
    assert preference_bias([[4, 0], [0, 4]]) is None, "no confusion"


@given(st.lists(st.lists(st.integers(0, 6), min_size=8, max_size=8), min_size=8, max_size=8))
def test_preference_bias_is_the_evaluations(table: list[list[int]]) -> None:
    theirs = strategies.preference_bias(np.array(table, dtype=float))
    ours = preference_bias(table)
    assert (ours is None) == (theirs is None)
    if ours is not None:
        assert ours == pytest.approx(theirs, abs=1e-5)


@given(st.lists(st.tuples(st.integers(0, 7), st.integers(0, 7)), min_size=1, max_size=40))
def test_accuracy_and_f1_are_the_evaluations(pairs: list[tuple[int, int]]) -> None:
    right, chosen = zip(*pairs, strict=True)
    found = measure([(label,) for label in right], chosen, 8)
    flat = np.array(found.table, dtype=float).reshape(64)
    gold, advised = ([list(Strategy)[n] for n in side] for side in (right, chosen))
    (theirs,) = (
        score.value
        for score in scores_of(measure_strategies(gold, advised), count=len(pairs), resamples=0)
        if score.metric == "strategy-accuracy"
    )
    assert theirs is not None
    assert found.accuracy == pytest.approx(theirs / 100)
    assert found.macro_f1 == pytest.approx(float(strategies.macro_f1(flat)) / 100)


def test_calibration_by_hand() -> None:
    """Two at 0.9, one right: gap 0.4; two at 0.6, both right: gap 0.4; mean 0.4."""
    bins = reliability([0.9, 0.9, 0.6, 0.6], [True, False, True, True])
    assert [(b.count, b.accuracy) for b in bins if b.count] == [(2, 1.0), (2, 0.5)]
    assert calibration_error(bins) == pytest.approx(0.4)
    assert calibration_error(reliability([], [])) is None
    edges = reliability([0.0, 0.1, 1.0], [True, True, True])
    assert [b.count for b in edges] == [2, 0, 0, 0, 0, 0, 0, 0, 0, 1]


def test_log_loss_by_hand() -> None:
    """-(ln 0.5 + ln 0.25) / 2 = 1.039721."""
    found = measure([(0,), (1,)], [0, 0], 2, [[0.5, 0.5], [0.75, 0.25]])
    assert found.nll == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert found.ece == pytest.approx((0.5 + 0.75) / 2)
