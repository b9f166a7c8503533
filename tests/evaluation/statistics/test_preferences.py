"""Strengths from comparisons against closed forms, and what the covariate takes away."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from warmline.core.errors import ConfigError
from warmline.evaluation.statistics.preferences import Comparison, strengths


def compared(wins: int, ties: int, losses: int, a: str = "a", b: str = "b") -> list[Comparison]:
    values = [1.0] * wins + [0.0] * ties + [-1.0] * losses
    return [Comparison(a, b, value, f"{a}{b}{n}") for n, value in enumerate(values)]


def test_two_are_as_the_closed_form_says() -> None:
    """With two, Davidson's likelihood is saturated: θ_a − θ_b = ln(w/l), ν = t/√(w l).

    600 wins, 200 ties and 150 losses: ln 4 = 1.386 and 200/300 = 0.667.
    """
    found = strengths(compared(600, 200, 150), resamples=200)
    by_name = {each.name: each for each in found.strengths}
    assert by_name["a"].value - by_name["b"].value == pytest.approx(math.log(4), abs=0.005)
    assert by_name["a"].value + by_name["b"].value == pytest.approx(0, abs=1e-9)
    assert found.tie == pytest.approx(2 / 3, abs=0.01)
    interval = by_name["a"].interval
    assert interval is not None
    # the normal interval of half a log-ratio: sd = sqrt(1/600 + 1/150)/2 = 0.0456
    assert interval.high - interval.low == pytest.approx(2 * 1.96 * 0.0456, rel=0.2)


def test_without_ties_it_is_bradley_and_terry() -> None:
    """Strengths 4 : 2 : 1 and exact expected counts give back their logarithms."""
    worth = {"x": 4.0, "y": 2.0, "z": 1.0}
    rows = []
    for a, b in itertools.combinations(worth, 2):
        wins = round(600 * worth[a] / (worth[a] + worth[b]))
        rows += compared(wins, 0, 600 - wins, a, b)
    found = {each.name: each.value for each in strengths(rows, resamples=1).strengths}
    assert found["x"] - found["y"] == pytest.approx(math.log(2), abs=0.01)
    assert found["y"] - found["z"] == pytest.approx(math.log(2), abs=0.01)


def test_an_advantage_of_length_alone_is_gone_at_equal_length() -> None:
    draw = random.Random(0)
    rows = []
    for n in range(3000):
        length = draw.gauss(10, 10)  # a is longer as a rule
        wins = draw.random() < 1 / (1 + math.exp(-length / 10))
        rows.append(Comparison("a", "b", 1.0 if wins else -1.0, str(n), length))
    plain = {each.name: each.value for each in strengths(rows, resamples=1).strengths}
    held = strengths(rows, length=True, resamples=1)
    equal = {each.name: each.value for each in held.strengths}
    assert plain["a"] - plain["b"] > 0.7
    assert abs(equal["a"] - equal["b"]) < 0.15
    assert held.slope == pytest.approx(1.0, abs=0.15)  # of one standard deviation


def test_who_never_loses_stays_finite_and_units_are_drawn_together() -> None:
    found = strengths(compared(9, 0, 0))
    assert 0 < found.strengths[0].value < 10
    together = [Comparison("a", "b", v, "one talk") for v in (1.0, 1.0, -1.0)]
    assert all(each.interval is None for each in strengths(together).strengths)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ConfigError, match="nothing to compare"):
        strengths([])
    with pytest.raises(ConfigError, match="1, 0 or -1, not 2"):
        strengths([Comparison("a", "b", 2, "u")])
