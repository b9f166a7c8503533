"""Strengths from comparisons: Bradley and Terry's model with ties, and with length held equal.

Davidson (1970): of i against j with s = θ_i − θ_j, P(i) ∝ exp(s/2), P(j) ∝ exp(−s/2), P(tie) ∝ ν. With
a covariate z (the difference in length), s = θ_i − θ_j + β z, as in length-controlled win rates (Dubois
et al. 2024). The log-likelihood is concave in θ, β and log ν and is climbed by Newton's method. A win
rate of two sides at equal length is in `length_control.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...core.errors import ConfigError
from .uncertainty import LEVEL, Floats, Interval, draw_weights, tells

RIDGE = 1e-2
"""Weight of a normal prior on strengths and slope, in comparisons: keeps them finite where one side
never loses."""
STEPS = 50
CLOSE = 1e-8


@dataclass(frozen=True, slots=True)
class Comparison:
    """One comparison.

    Attributes:
        a, b: what was compared.
        value: 1 where a was found better, -1 where b was, 0 for a tie.
        unit: what is drawn together in a bootstrap: a talk, an item.
        length: a's length less b's.
    """

    a: str
    b: str
    value: float
    unit: str
    length: float = 0.0


@dataclass(frozen=True, slots=True)
class Strength:
    """A log-strength; all of them sum to 0. The interval is None where resampling says nothing."""

    name: str
    value: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Strengths:
    """What was fitted.

    Attributes:
        strengths: the strongest first.
        tie: ν; 0 without a tie.
        slope: β, for one standard deviation of the difference in length; None where not asked for.
    """

    strengths: tuple[Strength, ...]
    tie: float
    slope: float | None
    n: int


def strengths(
    comparisons: Sequence[Comparison],
    *,
    length: bool = False,
    level: float = LEVEL,
    resamples: int = 1_000,
    seed: int = 0,
) -> Strengths:
    """Fit the strengths, with bootstrap intervals over units.

    Args:
        comparisons: any number, of any two names.
        length: hold the length equal.
        level, resamples, seed: of the bootstrap.

    Raises:
        ConfigError: nothing is compared, or a value is none of 1, 0 and -1.
    """
    if not comparisons:
        raise ConfigError("there is nothing to compare")
    if wrong := [c.value for c in comparisons if c.value not in (-1, 0, 1)]:
        raise ConfigError(f"a comparison is 1, 0 or -1, not {wrong[0]}")
    names = sorted({name for c in comparisons for name in (c.a, c.b)})
    design, outcome, group = _cells(comparisons, names, length)
    whole = _fit(design, outcome.sum(axis=0))
    centre = len(names)
    drawn = np.array(
        [
            _fit(design, np.tensordot(weights, outcome, axes=1), start=whole)[:centre]
            for block in draw_weights(group, resamples, seed)
            for weights in block
        ]
        if group > 1
        else np.zeros((0, centre))
    )
    tails = ((1 - level) / 2, (1 + level) / 2)
    found = []
    for place, name in enumerate(names):
        interval = None
        if len(drawn) and tells(drawn[:, place], level):
            low, high = np.quantile(drawn[:, place], tails)
            interval = Interval(float(low), float(high), level, "percentile", group)
        found.append(Strength(name, float(whole[place]), interval))
    found.sort(key=lambda each: -each.value)
    ties = any(c.value == 0 for c in comparisons)
    return Strengths(
        strengths=tuple(found),
        tie=float(np.exp(whole[-1])) if ties else 0.0,
        slope=float(whole[centre]) if length else None,
        n=len(comparisons),
    )


def _cells(
    comparisons: Sequence[Comparison], names: list[str], length: bool
) -> tuple[Floats, Floats, int]:
    """Equal comparisons together, so that a fit costs what differs.

    Returns:
        Design `(cells, parameters)` without the tie's, outcomes `(units, cells, 3)` of a, tie and b,
        and the number of units.
    """
    place = {name: number for number, name in enumerate(names)}
    lengths = np.array([c.length for c in comparisons])
    spread = float(lengths.std()) or 1.0
    cells: dict[tuple[int, int, float], int] = {}
    units: dict[str, int] = {}
    where = []
    for c in comparisons:
        key = (place[c.a], place[c.b], round(c.length / spread, 1) if length else 0.0)
        cell = cells.setdefault(key, len(cells))
        where.append((units.setdefault(c.unit, len(units)), cell, int(1 - c.value)))
    design = np.zeros((len(cells), len(names) + length))
    for (a, b, z), cell in cells.items():
        design[cell, a] += 1
        design[cell, b] -= 1
        if length:
            design[cell, len(names)] = z
    outcome = np.zeros((len(units), len(cells), 3))
    np.add.at(outcome, tuple(np.array(where).T), 1)
    return design, outcome, len(units)


def _fit(design: Floats, counts: Floats, start: Floats | None = None) -> Floats:
    """The parameters that make the counts `(cells, 3)` likeliest: strengths, slope, log ν."""
    size = design.shape[1]
    parameters = np.zeros(size + 1) if start is None else start.copy()
    ties = counts[:, 1].sum() > 0
    total = counts.sum(axis=1)
    half = np.array([0.5, 0.0, -0.5])
    prior = np.full(size + 1, RIDGE)
    for _ in range(STEPS):
        s = design @ parameters[:size]
        logits = s[:, None] * half + np.array([0.0, parameters[-1] if ties else -np.inf, 0.0])
        logits -= logits.max(axis=1, keepdims=True)
        p = np.exp(logits)
        p /= p.sum(axis=1, keepdims=True)
        mean = p @ half
        over = counts @ half - total * mean
        gradient = np.append(design.T @ over, counts[:, 1].sum() - total @ p[:, 1])
        var = total * (p @ half**2 - mean**2)
        cross = total * (-mean * p[:, 1])
        own = total @ (p[:, 1] * (1 - p[:, 1]))
        hessian = np.zeros((size + 1, size + 1))
        hessian[:size, :size] = design.T @ (var[:, None] * design)
        hessian[:size, -1] = hessian[-1, :size] = design.T @ cross
        hessian[-1, -1] = own if ties else 1.0
        if not ties:
            gradient[-1] = 0.0
            hessian[:size, -1] = hessian[-1, :size] = 0.0
        gradient -= prior * parameters
        step = np.linalg.solve(hessian + np.diag(prior), gradient)
        step /= max(1.0, float(np.abs(step).max()) / 2)
        parameters = parameters + step
        if float(np.abs(step).max()) < CLOSE:
            break
    fitted: Floats = parameters
    return fitted
