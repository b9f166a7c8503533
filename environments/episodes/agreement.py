"""Agreement between raters: Cohen's, Fleiss' and Krippendorff's coefficients.

Ratings come as one sequence a rater or one a subject, as each function says; a missing rating is
None. None is returned where a coefficient is undefined (nobody ever differs from one single value:
agreement beyond chance has no meaning there).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...core.errors import ConfigError

Level = Literal["nominal", "ordinal", "interval", "ratio"]
Weights = Literal["none", "linear", "quadratic"]
Floats = NDArray[np.float64]


def cohen_kappa(
    a: Sequence[Hashable | None],
    b: Sequence[Hashable | None],
    *,
    weights: Weights = "none",
    scale: Sequence[Hashable] | None = None,
) -> float | None:
    """Cohen's kappa of two raters over the subjects that both rated.

    κ_w = 1 − Σ w·observed / Σ w·expected, with w = [i ≠ j], |i − j| or (i − j)² over the places
    i, j of the two ratings on the scale (Cohen 1960, 1968).

    Args:
        a, b: one rating a subject.
        weights: how much a disagreement counts.
        scale: all possible ratings in order; default those that occur, sorted. Weighted kappas
            depend on it: with 1, 2 and 5 occurring, 2 and 5 are neighbours unless it is given.

    Raises:
        ConfigError: sequences of different lengths, unknown weights, a rating outside the scale.
    """
    if len(a) != len(b):
        raise ConfigError(f"two raters of the same subjects: {len(a)} ratings and {len(b)}")
    if weights not in ("none", "linear", "quadratic"):
        raise ConfigError(f"no weights '{weights}'; known: none, linear, quadratic")
    both = [(x, y) for x, y in zip(a, b, strict=True) if x is not None and y is not None]
    if not both:
        return None
    places = _places([rating for pair in both for rating in pair], scale)
    table = np.zeros((len(places), len(places)))
    for x, y in both:
        table[places[x], places[y]] += 1
    table /= len(both)
    apart = np.abs(np.subtract.outer(np.arange(len(places)), np.arange(len(places))))
    cost = {"none": apart > 0, "linear": apart, "quadratic": apart**2}[weights].astype(np.float64)
    expected = float(np.sum(cost * np.outer(table.sum(axis=1), table.sum(axis=0))))
    return None if expected == 0 else 1 - float(np.sum(cost * table)) / expected


def fleiss_kappa(subjects: Sequence[Sequence[Hashable | None]]) -> float | None:
    """Fleiss' kappa (1971) over subjects with at least two ratings, whoever gave them.

    Fleiss assumes the same number n of ratings for every subject. Here subject i has its own n_i:
    its agreement is the share of agreeing pairs among its n_i(n_i - 1)/2, the mean runs over
    subjects, and the chance term takes each value's share of all ratings counted. With equal n_i
    this is Fleiss' own formula.

    Args:
        subjects: for each subject its ratings, in any order (raters may differ by subject).
    """
    rated = [Counter(r for r in ratings if r is not None) for ratings in subjects]
    rated = [counts for counts in rated if counts.total() > 1]
    if not rated:
        return None
    observed = sum(map(_pairs_agreeing, rated)) / len(rated)
    together: Counter[Hashable] = sum(rated, Counter())
    expected = sum((count / together.total()) ** 2 for count in together.values())
    # everything fell into one value: agreement and chance are both certain
    return None if expected >= 1 else (observed - expected) / (1 - expected)


def _pairs_agreeing(counts: Counter[Hashable]) -> float:
    n = counts.total()
    return sum(k * (k - 1) for k in counts.values()) / (n * (n - 1))


def krippendorff_alpha(
    raters: Sequence[Sequence[Hashable | None]], *, level: Level = "nominal"
) -> float | None:
    """Krippendorff's alpha: any number of raters, missing ratings, four levels of measurement.

    α = 1 − D_o / D_e from the coincidence matrix (Krippendorff 2011, "Computing Krippendorff's
    Alpha-Reliability"). Subjects with fewer than two ratings say nothing and are left out.

    Args:
        raters: one sequence a rater, all over the same subjects; numbers unless `nominal`.
        level: nominal, ordinal, interval or ratio.

    Raises:
        ConfigError: sequences of different lengths, an unknown level, ratings that are not numbers.
    """
    if len({len(ratings) for ratings in raters}) > 1:
        raise ConfigError(f"raters of the same subjects: {[len(r) for r in raters]} ratings")
    units = [[r for r in unit if r is not None] for unit in zip(*raters, strict=True)]
    units = [unit for unit in units if len(unit) > 1]
    if not units:
        return None
    places = _places([rating for unit in units for rating in unit], None)
    together = np.zeros((len(places), len(places)))
    for unit in units:
        counts = np.zeros(len(places))
        for rating in unit:
            counts[places[rating]] += 1
        together += (np.outer(counts, counts) - np.diag(counts)) / (len(unit) - 1)
    margins = together.sum(axis=0)
    cost = _distances(list(places), margins, level)
    total = margins.sum()
    chance = float(np.sum(cost * np.outer(margins, margins))) / (total - 1)
    return None if chance == 0 else 1 - float(np.sum(cost * together)) / chance


def _distances(values: list[Hashable], margins: Floats, level: Level) -> Floats:
    """Squared differences between the values, at a level of measurement."""
    size = len(values)
    if level == "nominal":
        return 1.0 - np.eye(size)
    if level == "ordinal":
        ends = np.cumsum(margins) - margins / 2  # ranks: all before, and half of one's own
        return _squared(np.subtract.outer(ends, ends))
    try:
        numbers = np.array([float(v) for v in values])  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ConfigError(f"the level '{level}' needs numbers, not {values[:3]}") from None
    if level == "interval":
        return _squared(np.subtract.outer(numbers, numbers))
    if level == "ratio":
        sums = np.add.outer(numbers, numbers)
        apart = np.subtract.outer(numbers, numbers)
        return _squared(np.divide(apart, sums, out=np.zeros_like(apart), where=sums != 0))
    raise ConfigError(f"no level '{level}'; known: nominal, ordinal, interval, ratio")


def _squared(apart: Floats) -> Floats:
    return apart * apart


def _places(ratings: Sequence[Hashable], scale: Sequence[Hashable] | None) -> dict[Hashable, int]:
    """Where each rating stands on the scale."""
    if scale is None:
        return {value: i for i, value in enumerate(sorted(set(ratings)))}  # type: ignore[type-var]
    places = {value: i for i, value in enumerate(scale)}
    if outside := set(ratings) - places.keys():
        raise ConfigError(f"ratings outside the scale: {sorted(map(str, outside))}")
    return places
