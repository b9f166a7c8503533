"""The Wilson interval, by hand and against scipy's."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from warmline.environments.episodes.shares import wilson


def test_by_hand() -> None:
    """1 of 10: centre (0.1 + 1.9207/10) / 1.38415 = 0.2110, reach 0.1931."""
    assert wilson(1, 10) == pytest.approx((0.0179, 0.4042), abs=5e-5)
    assert wilson(0, 0) == (None, None)


@pytest.mark.parametrize("level", [0.9, 0.95])
@pytest.mark.parametrize(("count", "of"), [(0, 6), (6, 6), (1, 1), (3, 7), (20, 20), (499, 500)])
def test_it_is_scipys(count: int, of: int, level: float) -> None:
    theirs = binomtest(count, of).proportion_ci(level, "wilson")
    assert wilson(count, of, level=level) == pytest.approx((theirs.low, theirs.high))


def test_all_or_none_is_certain_on_one_side_only() -> None:
    low, high = wilson(6, 6)
    assert high == 1.0
    assert low == pytest.approx(0.6097, abs=1e-4)
    assert wilson(0, 6) == pytest.approx((0.0, 1 - low))
