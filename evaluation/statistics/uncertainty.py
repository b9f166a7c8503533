"""Uncertainty: an interval beside every figure that has one.

Replies of one dialogue resemble each other, so wherever `groups` can be given (one label a value,
usually the dialogue's id) whole groups are the units, never single values. A missing value is None
(or NaN): it is left out and counted, never taken as 0, and a group of missing values alone is no
unit. Shares have Wilson intervals, since a bootstrap of 6 of 6 knows nothing but 100 %; all other
figures have bootstrap intervals, and none where resampling says nothing. Two systems on the same
items are in `paired.py`, several seeds and sample sizes in `planning.py`, agreement between raters
in `environments/episodes/agreement.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...core.errors import ConfigError
from ...environments.episodes.shares import wilson

Floats = NDArray[np.float64]
Value = float | None
IntervalMethod = Literal["percentile", "bca"]

RESAMPLES = 1000
LEVEL = 0.95
BLOCK = 4_000_000
"""Numbers kept in memory at once while resampling."""
TINY = 1e-12
"""Figures of resamples that lie closer than this, relative to themselves, are one number."""


@dataclass(frozen=True, slots=True)
class Tally:
    """A figure that is a function of sums over replies, so that any resample of it is cheap.

    Attributes:
        rows: `(replies, columns)`, what each reply adds.
        of: sums `(..., columns)` to values `(...)`; NaN where the figure is undefined.
        share: the value of a whole (1, or 100 for per cent) where the figure is a share, its rows
            `share` times those that hold and all counted, and `of` their ratio; None for others.
    """

    rows: Floats
    of: Callable[[Floats], Floats]
    share: float | None = None

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


def share_tally(values: Sequence[Value], *, scale: float = 1.0) -> Tally:
    """The mean of values that hold (1) or do not (0), times `scale`; a tie may count half.

    Its interval is Wilson's. Missing values add nothing.

    Raises:
        ConfigError: a value outside [0, 1].
    """
    if wrong := [v for v in values if not gone(v) and not 0 <= (v or 0) <= 1]:
        raise ConfigError(f"a share is taken of values from 0 to 1, not of {wrong[0]}")
    return replace(mean_tally(values, scale=scale), share=scale)


def ratio(sums: Floats) -> Floats:
    """First column over the second; NaN over nothing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        quotient: Floats = np.where(sums[..., 1] > 0, sums[..., 0] / sums[..., 1], np.nan)
    return quotient


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval.

    Attributes:
        low, high: its ends, in the figure's unit.
        level: its nominal coverage.
        method: `wilson` for a share, else the bootstrap's `percentile` or `bca`.
        groups: independent units with a value (dialogues, or values where no groups were given).
    """

    low: float
    high: float
    level: float = LEVEL
    method: Literal["wilson"] | IntervalMethod = "percentile"
    groups: int = 0

    def __str__(self) -> str:
        return f"[{self.low:.2f}, {self.high:.2f}]"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean with what is needed to judge it.

    Attributes:
        value: the mean over known values; None if there is none.
        interval: None where `bootstrap` gives none.
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
    return _estimate(tally, found)


def estimate_share(
    values: Sequence[Value], *, groups: Sequence[Hashable] | None = None, level: float = LEVEL
) -> Estimate:
    """The share of values that hold (1, 0, or a half for a tie), with a Wilson interval.

    6 of 6 single values: [0.61, 1.00].

    Raises:
        ConfigError: `groups` of another length, an impossible level, a value outside [0, 1].
    """
    tally = share_tally(values)
    return _estimate(tally, bootstrap({"share": tally}, groups=groups, level=level)["share"])


def _estimate(tally: Tally, interval: Interval | None) -> Estimate:
    known = int(tally.rows[:, 1].sum())
    return Estimate(tally.value, interval, known, len(tally.rows) - known)


def bootstrap(
    tallies: Mapping[str, Tally],
    *,
    groups: Sequence[Hashable] | None = None,
    method: IntervalMethod = "percentile",
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Interval | None]:
    """Intervals of many figures over the same replies, from the same draws.

    Groups are drawn with replacement, as many as have a value (Efron & Tibshirani 1993, ch. 8);
    `percentile` takes the quantiles of the figures drawn, `bca` corrects them for bias and
    acceleration (ibid., ch. 14). A share is not drawn: its interval is Wilson's with the number of
    replies over their design effect (Korn & Graubard 1998), see `_wilson`.

    Args:
        tallies: figures over the same replies, in the same order.
        groups: one label a reply; None makes every reply a group of its own.
        method: percentile or BCa.
        level: nominal coverage, within (0, 1).
        resamples: draws.
        seed: of the draws; equal arguments give equal intervals.

    Returns:
        An interval a figure. None with fewer than two groups that have a value, where the figure is
        undefined, in every draw the same (so nothing is known of its spread), or undefined in more
        draws than the interval leaves out (a correlation of two or three).

    Raises:
        ConfigError: tallies or groups of different lengths, an impossible level or count.
    """
    check_draws(level, resamples, method)
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
    return {
        name: _wilson(sums[name], tally.share, level) if tally.share else None
        for name, tally in tallies.items()
    } | _drawn(
        {name: tally for name, tally in tallies.items() if not tally.share},
        sums, method, level, resamples, seed,
    )  # fmt: skip


def _drawn(
    tallies: Mapping[str, Tally],
    sums: Mapping[str, Floats],
    method: IntervalMethod,
    level: float,
    resamples: int,
    seed: int,
) -> dict[str, Interval | None]:
    """Bootstrap intervals. Figures with values of the same groups share their draws."""
    together: dict[bytes, list[str]] = {}
    for name in tallies:
        together.setdefault(_valued(sums[name]).tobytes(), []).append(name)
    found: dict[str, Interval | None] = dict.fromkeys(tallies)
    for names in together.values():
        valued = _valued(sums[names[0]])
        kept = {name: sums[name] if valued.all() else sums[name][valued] for name in names}
        count = len(kept[names[0]])
        if count < 2:
            continue
        draws: dict[str, list[Floats]] = {name: [] for name in names}
        for weights in draw_weights(count, resamples, seed):
            for name in names:
                draws[name].append(tallies[name].of(weights @ kept[name]))
        for name in names:
            drawn = np.concatenate(draws[name])
            found[name] = _interval(drawn, kept[name], tallies[name].of, method, level)
    return found


def _valued(sums: Floats) -> NDArray[np.bool_]:
    """Which groups have a value: those that add something."""
    found: NDArray[np.bool_] = (sums != 0).any(axis=1)
    return found


def _wilson(sums: Floats, scale: float, level: float) -> Interval | None:
    """The Wilson interval of a share of grouped replies.

    The number of replies is divided by the design effect: the variance between groups over that of
    independent replies, at least 1. Single replies give the plain interval. Where all or none hold
    there is no variance to see, and as many count as there are groups (weighed by size, Kish 1965).
    """
    sums = sums[sums[:, 1] > 0]
    if len(sums) < 2:
        return None
    held, counted = sums[:, 0] / scale, sums[:, 1]
    total = float(counted.sum())
    share = min(1.0, max(0.0, float(held.sum()) / total))
    if 0 < share < 1:
        between = float(np.sum((held - share * counted) ** 2)) / total**2
        alone = share * (1 - share) / total
        units = total / max(1.0, between / alone)
    else:
        units = total**2 / float(np.sum(counted**2))
    low, high = wilson(share * units, units, level=level)
    if low is None or high is None:
        return None
    return Interval(low * scale, high * scale, level, "wilson", len(sums))


def group_sums(rows: Floats, groups: Sequence[Hashable] | None) -> Floats:
    """`(replies, columns)` to `(groups, columns)`, groups in order of first appearance."""
    if groups is None:
        return rows
    numbers: dict[Hashable, int] = {}
    index = np.array([numbers.setdefault(group, len(numbers)) for group in groups], dtype=np.intp)
    sums = np.zeros((len(numbers), rows.shape[1]))
    np.add.at(sums, index, rows)
    return sums


def draw_weights(count: int, resamples: int, seed: int) -> Iterator[Floats]:
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
    if math.isnan(whole) or not tells(drawn, level):
        return None
    drawn = drawn[~np.isnan(drawn)]
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    if method == "bca":
        tails = _bca_tails(drawn, whole, of(sums.sum(axis=0) - sums), tails)
    low, high = np.quantile(drawn, tails)
    return Interval(float(low), float(high), level, method, len(sums))


def tells(drawn: Floats, level: float = LEVEL) -> bool:
    """Whether figures of resamples say how sure the figure is.

    They do not if all are the same (nothing is known of the spread then), or if more are undefined
    (NaN) than an interval of this level leaves out.
    """
    known = drawn[~np.isnan(drawn)]
    if not len(known) or len(known) < level * len(drawn):
        return False
    return bool(np.ptp(known) > TINY * float(np.max(np.abs(known))))


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


def check_draws(level: float, resamples: int, method: str) -> None:
    problems = []
    if not 0 < level < 1:
        problems.append(f"level must lie between 0 and 1, not {level}")
    if resamples < 1:
        problems.append(f"resamples must be at least 1, not {resamples}")
    if method not in ("percentile", "bca"):
        problems.append(f"method must be percentile or bca, not '{method}'")
    if problems:
        raise ConfigError("no interval can be drawn", problems=problems)


def gone(value: Value) -> bool:
    """Whether a value is missing."""
    return value is None or math.isnan(value)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
