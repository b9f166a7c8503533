"""Win rates at equal length: is the gain only that one side says more?

After Dubois et al. 2024 (length-controlled AlpacaEval): the probability that A is preferred is
modelled as σ(θ + φ · tanh(d / sd)), d being by how much A's text is longer and sd the standard
deviation of d over all pairs; the rate at equal length is σ(θ). Left out: their term for the
difficulty of each instruction, which needs many systems on the same instructions.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from ...core.errors import ConfigError
from .uncertainty import LEVEL, Floats, draw_weights, tells

STEPS = 50
RIDGE = 0.1
"""Precision of a normal prior on φ with mean 0 (standard deviation 3.2 logits): it keeps φ finite where
length decides every pair, and hardly counts else."""
BOUND = 20.0
"""Largest |θ|: where one side always wins, the likelihood has no maximum."""
DRAWS = 1000


@dataclass(frozen=True, slots=True)
class LengthControlled:
    """A win rate of A with and without what length explains.

    Attributes:
        n: pairs.
        plain: mean of wins, ties counting half; None without a pair.
        rate: at equal length, in [0, 1]; None where the longer text (or the shorter one) wins every
            pair that is decided, since nothing then tells what happens at equal length.
        low, high: 95 % bootstrap interval of `rate`, groups resampled; None where resamples tell
            none.
        slope: φ: logits that A gains if it is longer by much; 0 where all pairs differ alike.
        longer: mean of d.
    """

    n: int
    plain: float | None
    rate: float | None
    low: float | None
    high: float | None
    slope: float | None
    longer: float | None


def length_controlled(
    wins: Sequence[float],
    longer: Sequence[float],
    *,
    groups: Sequence[Hashable] | None = None,
    resamples: int = DRAWS,
    seed: int = 0,
) -> LengthControlled:
    """Fit the model to pairs.

    Args:
        wins: 1 where A was better, 0 where B was, 0.5 for a tie.
        longer: by how many words A's text is longer.
        groups: the dialogue of each pair; whole dialogues are drawn.

    Raises:
        ConfigError: sequences of different lengths.
    """
    if len(wins) != len(longer) or (groups is not None and len(groups) != len(wins)):
        raise ConfigError(f"{len(wins)} verdicts with {len(longer)} differences of length")
    if not len(wins):
        return LengthControlled(0, None, None, None, None, None, None)
    y, d = np.asarray(wins, dtype=np.float64), np.asarray(longer, dtype=np.float64)
    spread = float(d.std())
    x = np.tanh(d / spread) if spread > 0 else np.zeros_like(d)
    theta, phi = _fit(y, x, np.ones_like(y))
    if _decided_by_length(y, x):
        return LengthControlled(len(y), float(y.mean()), None, None, None, phi, float(d.mean()))
    low, high = _interval(y, x, groups, resamples, seed)
    return LengthControlled(
        n=len(y),
        plain=float(y.mean()),
        rate=_sigmoid(theta),
        low=low,
        high=high,
        slope=phi,
        longer=float(d.mean()),
    )


def _decided_by_length(y: Floats, x: Floats) -> bool:
    """Whether the sign of the difference alone says who wins, and both signs occur."""
    sides = np.sign(x[y != 0.5]), np.sign(y[y != 0.5] - 0.5)
    if len(np.unique(sides[0])) < 2 or (sides[0] == 0).any():
        return False
    return bool((sides[0] == sides[1]).all() or (sides[0] == -sides[1]).all())


def _interval(
    y: Floats, x: Floats, groups: Sequence[Hashable] | None, resamples: int, seed: int
) -> tuple[float | None, float | None]:
    places = groups if groups is not None else range(len(y))
    numbers = {group: n for n, group in enumerate(dict.fromkeys(places))}
    index = np.array([numbers[group] for group in places])
    if len(numbers) < 2 or not resamples:
        return None, None
    drawn = np.array(
        [
            _sigmoid(_fit(y, x, weights[index])[0])
            for block in draw_weights(len(numbers), resamples, seed)
            for weights in block
        ]
    )
    if not tells(drawn):
        return None, None
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _fit(y: Floats, x: Floats, weights: Floats) -> tuple[float, float]:
    """θ and φ by Newton's method on the weighted log-likelihood with its prior."""
    theta = phi = 0.0
    for _ in range(STEPS):
        p = 1 / (1 + np.exp(-(theta + phi * x)))
        w = weights * p * (1 - p)
        error = weights * (y - p)
        g0, g1 = float(error.sum()), float((error * x).sum()) - RIDGE * phi
        a, b = float(w.sum()) + 1e-9, float((w * x).sum())
        c = float((w * x * x).sum()) + RIDGE
        det = a * c - b * b
        step0, step1 = (c * g0 - b * g1) / det, (a * g1 - b * g0) / det
        # a step at most this long: where one side always wins, they grow without end
        size = max(1.0, abs(step0), abs(step1))
        theta, phi = theta + step0 / size, phi + step1 / size
        theta = max(-BOUND, min(BOUND, theta))
        if abs(step0) + abs(step1) < 1e-9:
            break
    return theta, phi


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value))
