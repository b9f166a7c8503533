"""Win rates at equal length."""

from __future__ import annotations

import numpy as np
import pytest

from warmline.core.errors import ConfigError
from warmline.evaluation import length_controlled


def test_a_judge_that_only_counts_words_is_found_out() -> None:
    """A is longer in 30 of 40 pairs, and the longer text wins nine of ten: nothing else is left."""
    longer = [10.0] * 30 + [-10.0] * 10
    wins = [1.0] * 27 + [0.0] * 3 + [1.0] + [0.0] * 9
    found = length_controlled(wins, longer, groups=range(40))
    assert found.plain == 0.7
    assert found.rate == pytest.approx(0.5, abs=0.02)
    assert found.low is not None
    assert found.high is not None
    assert found.low < 0.5 < found.high
    assert found.slope is not None
    assert found.slope > 1
    assert found.longer == 5


def test_where_length_decides_every_pair_nothing_is_known_at_equal_length() -> None:
    longer = [10.0, 4.0, 7.0, -3.0]
    found = length_controlled([1.0, 1.0, 1.0, 0.0], longer, groups=range(4))
    assert found.plain == 0.75
    assert found.rate is found.low is None
    assert length_controlled([0.0, 0.0, 0.0, 1.0], longer).rate is None
    assert length_controlled([1.0, 1.0, 0.0, 0.0], longer).rate is not None


def test_a_gain_that_length_does_not_explain_stays() -> None:
    """75 of 100 won, of the longer and of the shorter alike."""
    longer = [8.0, -8.0] * 50
    wins = [1.0] * 75 + [0.0] * 25
    found = length_controlled(wins, longer, groups=range(100))
    assert found.rate == pytest.approx(0.75, abs=0.01)
    assert found.low is not None
    assert found.low > 0.6
    assert abs(found.slope or 0) < 0.2


def test_the_fit_is_the_maximum_of_its_likelihood() -> None:
    """Found by a general optimiser."""
    from scipy.optimize import minimize

    rng = np.random.default_rng(0)
    d = rng.normal(2, 5, size=60)
    y = (rng.random(60) < 1 / (1 + np.exp(-0.4 - d / 5))).astype(float)
    x = np.tanh(d / d.std())

    def loss(at: np.ndarray) -> float:
        z = at[0] + at[1] * x
        return float(np.sum(np.logaddexp(0, z) - y * z) + at[1] ** 2 / 20)

    best = minimize(loss, np.zeros(2)).x
    found = length_controlled(list(y), list(d), resamples=0)
    assert found.rate == pytest.approx(1 / (1 + np.exp(-best[0])), abs=1e-4)
    assert found.slope == pytest.approx(best[1], abs=1e-3)


def test_ties_nothing_and_one_sided_wins() -> None:
    assert length_controlled([0.5] * 4, [1.0, 2.0, 3.0, 4.0]).rate == pytest.approx(0.5)
    all_won = length_controlled([1.0] * 6, [1.0, -1.0, 2.0, -2.0, 3.0, -3.0])
    assert all_won.rate == pytest.approx(1.0, abs=1e-3)
    assert all_won.low is None
    same = length_controlled([1.0, 0.0, 1.0, 1.0], [3.0] * 4)
    assert same.rate == pytest.approx(0.75)
    assert same.slope == 0
    assert length_controlled([], []).rate is None
    with pytest.raises(ConfigError, match="2 verdicts with 1"):
        length_controlled([1.0, 0.0], [1.0])
