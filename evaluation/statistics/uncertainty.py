"""Uncertainty: bootstrap intervals, and paired tests of two systems on the same items.

Replies of one dialogue resemble each other, so wherever `groups` can be given (one label a value,
usually the dialogue's id) whole groups are drawn, never single values. A missing value is None (or
NaN): it is left out and counted, never taken as 0. Agreement between raters is in
`environments/episodes/agreement.py`, several seeds and sample sizes are in `planning.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...core.errors import ConfigError, MissingExtra

Floats = NDArray[np.float64]
Value = float | None
IntervalMethod = Literal["percentile", "bca"]
PairedTest = Literal["bootstrap", "permutation", "wilcoxon"]

RESAMPLES = 1000
LEVEL = 0.95
BLOCK = 4_000_000
"""Numbers kept in memory at once while resampling."""


@dataclass(frozen=True, slots=True)
class Tally:
    """A figure that is a function of sums over replies, so that any resample of it is cheap.

    Attributes:
        rows: `(replies, columns)`, what each reply adds.
        of: sums `(..., columns)` to values `(...)`; NaN where the figure is undefined.
    """

    rows: Floats
    of: Callable[[Floats], Floats]

    @property
    def value(self) -> float | None:
        """The figure over all replies; None where it is undefined (no reply counted, say)."""
        return _or_none(float(self.of(self.rows.sum(axis=0))))


def mean_tally(values: Sequence[Value], *, scale: float = 1.0) -> Tally:
    """The mean of `values` times `scale`; missing ones add nothing."""
    given = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
    known = ~np.isnan(given)
    rows = np.stack([np.where(known, given * scale, 0.0), known.astype(np.float64)], axis=1)
    return Tally(rows, ratio)


def ratio(sums: Floats) -> Floats:
    """First column over the second; NaN over nothing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        quotient: Floats = np.where(sums[..., 1] > 0, sums[..., 0] / sums[..., 1], np.nan)
    return quotient


@dataclass(frozen=True, slots=True)
class Interval:
    """A bootstrap interval.

    Attributes:
        low, high: its ends, in the figure's unit.
        level: its nominal coverage.
        method: `percentile` or `bca`.
        groups: independent units drawn (dialogues, or values where no groups were given).
    """

    low: float
    high: float
    level: float = LEVEL
    method: IntervalMethod = "percentile"
    groups: int = 0

    def __str__(self) -> str:
        return f"[{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with what is needed to judge it.

    Attributes:
        value: the mean over known values; None if there is none.
        interval: None with fewer than two groups.
        n: values known.
        missing: values missing.
    """

    value: float | None
    interval: Interval | None
    n: int
    missing: int


def estimate_mean(
    values: Sequence[Value],
    *,
    groups: Sequence[Hashable] | None = None,
    method: IntervalMethod = "percentile",
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """The mean of `values` with a bootstrap interval.

    Raises:
        ConfigError: `groups` of another length, an impossible level or number of resamples.
    """
    tally = mean_tally(values)
    found = bootstrap({"mean": tally}, groups=groups, method=method, level=level,
                      resamples=resamples, seed=seed)["mean"]  # fmt: skip
    known = int(tally.rows[:, 1].sum())
    return Estimate(tally.value, found, known, len(values) - known)


def bootstrap(
    tallies: Mapping[str, Tally],
    *,
    groups: Sequence[Hashable] | None = None,
    method: IntervalMethod = "percentile",
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Interval | None]:
    """Bootstrap intervals of many figures over the same replies, from the same draws.

    Groups are drawn with replacement, as many as there are (Efron & Tibshirani 1993, ch. 8);
    `percentile` takes the quantiles of the figures drawn, `bca` corrects them for bias and
    acceleration (ibid., ch. 14).

    Args:
        tallies: figures over the same replies, in the same order.
        groups: one label a reply; None makes every reply a group of its own.
        method: percentile or BCa.
        level: nominal coverage, within (0, 1).
        resamples: draws.
        seed: of the draws; equal arguments give equal intervals.

    Returns:
        An interval a figure; None with fewer than two groups or where the figure is undefined.

    Raises:
        ConfigError: tallies or groups of different lengths, an impossible level or count.
    """
    _check_draws(level, resamples, method)
    if not tallies:
        return {}
    sizes = {len(tally.rows) for tally in tallies.values()}
    if len(sizes) > 1 or (groups is not None and len(groups) not in sizes):
        raise ConfigError(
            f"figures over {sorted(sizes)} values and"
            f" {'no' if groups is None else len(groups)} groups cannot be drawn together",
            hint="give one row and one group for each reply",
        )
    sums = {name: group_sums(tally.rows, groups) for name, tally in tallies.items()}
    count = len(next(iter(sums.values())))
    if count < 2:
        return dict.fromkeys(tallies)
    draws: dict[str, list[Floats]] = {name: [] for name in tallies}
    for weights in _weights(count, resamples, seed):
        for name, tally in tallies.items():
            draws[name].append(tally.of(weights @ sums[name]))
    return {
        name: _interval(np.concatenate(draws[name]), sums[name], tallies[name].of, method, level)
        for name in tallies
    }


def group_sums(rows: Floats, groups: Sequence[Hashable] | None) -> Floats:
    """`(replies, columns)` to `(groups, columns)`, groups in order of first appearance."""
    if groups is None:
        return rows
    numbers: dict[Hashable, int] = {}
    index = np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.intp)
    sums = np.zeros((len(numbers), rows.shape[1]))
    np.add.at(sums, index, rows)
    return sums


def _weights(count: int, resamples: int, seed: int) -> Iterator[Floats]:
    """How often each of `count` groups is drawn: blocks of `(draws, count)`."""
    rng = np.random.default_rng(seed)
    block = max(1, BLOCK // count)
    for start in range(0, resamples, block):
        draws = min(block, resamples - start)
        picks = rng.integers(0, count, size=(draws, count))
        picks += np.arange(draws)[:, None] * count
        counts = np.bincount(picks.ravel(), minlength=draws * count)
        yield counts.reshape(draws, count).astype(np.float64)


def _interval(
    drawn: Floats,
    sums: Floats,
    of: Callable[[Floats], Floats],
    method: IntervalMethod,
    level: float,
) -> Interval | None:
    whole = float(of(sums.sum(axis=0)))
    drawn = drawn[~np.isnan(drawn)]
    if math.isnan(whole) or not len(drawn):
        return None
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    if method == "bca":
        tails = _bca_tails(drawn, whole, of(sums.sum(axis=0) - sums), tails)
    low, high = np.quantile(drawn, tails)
    return Interval(float(low), float(high), level, method, len(sums))


def _bca_tails(drawn: Floats, whole: float, left_out: Floats, tails: Floats) -> Floats:
    """The quantiles that BCa reads off (Efron & Tibshirani 1993, eq. 14.10, 14.14, 14.15)."""
    normal = NormalDist()
    below = (np.sum(drawn < whole) + np.sum(drawn == whole) / 2) / len(drawn)
    bias = normal.inv_cdf(float(np.clip(below, 0.5 / len(drawn), 1 - 0.5 / len(drawn))))
    spread = left_out[~np.isnan(left_out)]
    spread = spread.mean() - spread if len(spread) else np.zeros(1)
    scale = float(np.sum(spread**2)) ** 1.5
    acceleration = float(np.sum(spread**3)) / (6 * scale) if scale > 0 else 0.0
    z = np.array([normal.inv_cdf(float(tail)) for tail in tails]) + bias
    return np.array([normal.cdf(float(bias + x / (1 - acceleration * x))) for x in z])


def _check_draws(level: float, resamples: int, method: str) -> None:
    problems = []
    if not 0 < level < 1:
        problems.append(f"level must lie between 0 and 1, not {level}")
    if resamples < 1:
        problems.append(f"resamples must be at least 1, not {resamples}")
    if method not in ("percentile", "bca"):
        problems.append(f"method must be percentile or bca, not '{method}'")
    if problems:
        raise ConfigError("no interval can be drawn", problems=problems)


# Two systems on the same items


@dataclass(frozen=True, slots=True)
class PairedResult:
    """What distinguishes A from B on the same items.

    Attributes:
        difference: mean of A − B over the items that both have; None if there is none.
        interval: of the difference; None with fewer than two groups.
        p: two-sided p-value; None where the test is undefined (too few items, for example).
        test: which test gave `p`.
        n: items that both have.
        missing: items that lack a value of A, of B or of both.
        groups: independent units among the items counted.
    """

    difference: float | None
    interval: Interval | None
    p: float | None
    test: PairedTest
    n: int
    missing: int
    groups: int


def paired_test(
    a: Sequence[Value],
    b: Sequence[Value],
    *,
    groups: Sequence[Hashable] | None = None,
    test: PairedTest = "permutation",
    level: float = LEVEL,
    resamples: int = 10_000,
    seed: int = 0,
) -> PairedResult:
    """Compare A with B on the same items (same scenario, same seed, same context).

    All tests work on the mean difference of each group. `permutation` flips signs (exact up to
    2^groups ≤ resamples, else drawn) and `wilcoxon` ranks, both by scipy; `bootstrap` doubles the
    smaller share of drawn differences beyond 0 (Koehn 2004), adding one draw to either side.

    Raises:
        ConfigError: sequences of different lengths, an unknown test.
        MissingExtra: scipy is not installed (not needed for `bootstrap`).
    """
    if len(a) != len(b) or (groups is not None and len(groups) != len(a)):
        raise ConfigError(
            f"a pair needs both sides: {len(a)} values of A, {len(b)} of B"
            + ("" if groups is None else f", {len(groups)} groups")
        )
    _check_draws(level, resamples, "percentile")
    pairs = [i for i, (x, y) in enumerate(zip(a, b, strict=True)) if not (_gone(x) or _gone(y))]
    deltas = np.array([float(a[i] or 0) - float(b[i] or 0) for i in pairs])
    if not pairs:
        return PairedResult(None, None, None, test, 0, len(a), 0)
    chosen = None if groups is None else [groups[i] for i in pairs]
    tally = mean_tally(list(deltas))
    sums = group_sums(tally.rows, chosen)
    interval = bootstrap({"d": tally}, groups=chosen, level=level, resamples=resamples, seed=seed)
    return PairedResult(
        difference=float(deltas.mean()),
        interval=interval["d"],
        p=_p_value(sums, test, resamples, seed) if len(sums) > 1 else None,
        test=test,
        n=len(pairs),
        missing=len(a) - len(pairs),
        groups=len(sums),
    )


def _p_value(sums: Floats, test: PairedTest, resamples: int, seed: int) -> float | None:
    means = sums[:, 0] / sums[:, 1]
    if test == "bootstrap":
        drawn = np.concatenate([ratio(w @ sums) for w in _weights(len(sums), resamples, seed)])
        side = min(int(np.sum(drawn <= 0)), int(np.sum(drawn >= 0)))
        return min(1.0, 2 * (side + 1) / (len(drawn) + 1))
    try:
        from scipy import stats
    except ImportError as error:
        raise MissingExtra(f"the {test} test", extra="eval") from error
    if test == "permutation":
        found: Any = stats.permutation_test(
            (means,), np.mean, permutation_type="samples", n_resamples=resamples,
            vectorized=True, rng=np.random.default_rng(seed),
        )  # fmt: skip
        return float(found.pvalue)
    if test == "wilcoxon":
        if not np.any(means):
            return 1.0  # no group differs; ranks of nothing are undefined
        return float(stats.wilcoxon(means).pvalue)
    raise ConfigError(f"no paired test named '{test}'; known: bootstrap, permutation, wilcoxon")


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down correction. Of 0.01, 0.04, 0.03: 0.03, 0.06, 0.06."""
    corrected: dict[str, float] = {}
    largest = 0.0
    for place, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, p * (len(p_values) - place)))
        corrected[name] = largest
    return corrected


def _gone(value: Value) -> bool:
    return value is None or math.isnan(value)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
