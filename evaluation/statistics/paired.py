"""Paired tests: two systems on the same items."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ...core.errors import ConfigError, MissingExtra
from .uncertainty import (
    LEVEL,
    Floats,
    Interval,
    Value,
    bootstrap,
    check_draws,
    draw_weights,
    gone,
    group_sums,
    mean_tally,
    ratio,
)

PairedTest = Literal["bootstrap", "permutation", "wilcoxon"]


@dataclass(frozen=True, slots=True)
class PairedResult:
    """What distinguishes A from B on the same items.

    Attributes:
        difference: mean of A − B over the items that both have; None if there is none.
        interval: of the difference; None where `bootstrap` gives none.
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
    check_draws(level, resamples, "percentile")
    pairs = [i for i, (x, y) in enumerate(zip(a, b, strict=True)) if not (gone(x) or gone(y))]
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
        drawn = np.concatenate([ratio(w @ sums) for w in draw_weights(len(sums), resamples, seed)])
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
