"""Agreement coefficients against published examples and sklearn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from warmline.core.errors import ConfigError
from warmline.environments.episodes.agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha

FLEISS = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip
"""The worked example of the coefficient's encyclopaedia article: 14 raters, 10 subjects, 0.210."""

GAP = None
KRIPPENDORFF = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, GAP, GAP, GAP],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, GAP, 3],
    [GAP, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, GAP],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, GAP],
]
"""Krippendorff 2011, section C: four observers, twelve units, missing data."""


def test_fleiss_published_example() -> None:
    subjects = [[k for k, count in enumerate(row) for _ in range(count)] for row in FLEISS]
    assert fleiss_kappa(subjects) == pytest.approx(0.210, abs=5e-4)


@pytest.mark.parametrize(
    ("level", "alpha"),
    [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849), ("ratio", 0.797)],
)
def test_krippendorff_published_example(level: str, alpha: float) -> None:
    assert krippendorff_alpha(KRIPPENDORFF, level=level) == pytest.approx(alpha, abs=5e-4)


ratings = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=2, max_size=30)


@settings(deadline=None)
@given(ratings)
def test_cohen_is_sklearns(pairs: list[tuple[int, int]]) -> None:
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    if len({*a, *b}) == 1:
        assert cohen_kappa(a, b) is None
        return
    for ours, theirs in (("none", None), ("linear", "linear"), ("quadratic", "quadratic")):
        expected = cohen_kappa_score(a, b, weights=theirs, labels=[1, 2, 3, 4, 5])
        assert cohen_kappa(a, b, weights=ours, scale=range(1, 6)) == pytest.approx(expected)


def test_quadratic_kappa_by_hand() -> None:
    """1 2 against 1 3 on 1–3: observed 1/2, expected (0 + 4 + 1 + 1)/4: κ = 1 − 0.5/1.5."""
    assert cohen_kappa([1, 2], [1, 3], weights="quadratic") == pytest.approx(2 / 3)


def test_missing_ratings_are_left_out() -> None:
    full = cohen_kappa([1, 2, 1, 2], [1, 2, 2, 2])
    assert cohen_kappa([1, 2, None, 1, 2, 1], [1, 2, 1, 2, 2, None]) == full
    assert cohen_kappa([None], [1]) is None
    assert krippendorff_alpha([[1, None], [None, 2]]) is None


def test_alpha_of_two_raters_nears_kappa_of_pooled_margins() -> None:
    """Perfect agreement is 1; chance is about 0."""
    rng = np.random.default_rng(3)
    a = list(rng.integers(1, 6, 400))
    assert krippendorff_alpha([a, a], level="ordinal") == pytest.approx(1)
    assert abs(krippendorff_alpha([a, list(rng.permutation(a))], level="interval")) < 0.12


def test_what_the_coefficients_cannot_take_is_refused() -> None:
    with pytest.raises(ConfigError, match="2 ratings and 1"):
        cohen_kappa([1, 2], [1])
    with pytest.raises(ConfigError, match="outside the scale"):
        cohen_kappa([1, 9], [1, 2], scale=range(1, 6))
    with pytest.raises(ConfigError, match="needs numbers"):
        krippendorff_alpha([["a", "b"], ["b", "b"]], level="interval")
    with pytest.raises(ConfigError, match="no level 'cardinal'"):
        krippendorff_alpha([[1, 2], [2, 2]], level="cardinal")
    with pytest.raises(ConfigError, match="no weights 'cubic'"):
        cohen_kappa([1, 2], [2, 2], weights="cubic")
