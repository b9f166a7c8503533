"""Choice of strategy against the corpus: accuracy, macro-F1, preference bias, confusion.

A supporter turn of ESConv may carry several labels; the first counts here, the common choice. A
strategy that could not be read is missing: it is left out and counted, and is not an error.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...agents.roles import STRATEGY_LABELS, Strategy
from ...core.errors import ConfigError
from ..statistics.uncertainty import Floats, Tally, share_tally
from .metric import Measurement

SIZE = len(STRATEGY_LABELS)
_PLACE = {strategy: i for i, strategy in enumerate(Strategy)}

ITERATIONS = 1000
TOLERANCE = 1e-9


def confusion_rows(gold: Sequence[Strategy], predicted: Sequence[Strategy | None]) -> Floats:
    """What each turn adds to the confusion matrix: `(turns, 64)`, gold strategy by predicted one.

    A missing prediction adds nothing.

    Raises:
        ConfigError: sequences of different lengths.
    """
    if len(gold) != len(predicted):
        raise ConfigError(f"{len(gold)} strategies in the corpus but {len(predicted)} predicted")
    rows = np.zeros((len(gold), SIZE * SIZE))
    for i, (truth, choice) in enumerate(zip(gold, predicted, strict=True)):
        if choice is not None:
            rows[i, _PLACE[truth] * SIZE + _PLACE[choice]] = 1
    return rows


def confusion(
    gold: Sequence[Strategy], predicted: Sequence[Strategy | None]
) -> dict[str, dict[str, int]]:
    """How often each strategy of the corpus was answered with each: gold label, then predicted."""
    table = confusion_rows(gold, predicted).sum(axis=0).reshape(SIZE, SIZE)
    return {
        truth: {choice: int(table[i, j]) for j, choice in enumerate(STRATEGY_LABELS)}
        for i, truth in enumerate(STRATEGY_LABELS)
    }


def measure_strategies(
    gold: Sequence[Strategy], predicted: Sequence[Strategy | None]
) -> list[Measurement]:
    """Accuracy, macro-F1 and preference bias.

    Raises:
        ConfigError: sequences of different lengths.
    """
    rows = confusion_rows(gold, predicted)
    known = int(rows.sum())
    turns = "first label of the turn; unreadable choices left out"
    return [
        Measurement("strategy-accuracy", _hits(gold, predicted), turns, n=known),
        Measurement(
            "strategy-macro-f1",
            Tally(rows, macro_f1),
            f"mean over strategies that occur on either side; {turns}",
            n=known,
        ),
        Measurement(
            "preference-bias",
            Tally(rows, _bias),
            f"sd of Bradley-Terry preferences, mean 1 (Kang et al. 2024); {turns}",
            unit="",
            n=known,
        ),
    ]


def _hits(gold: Sequence[Strategy], predicted: Sequence[Strategy | None]) -> Tally:
    """Share of turns with the corpus's strategy, in per cent."""
    right = [
        None if choice is None else float(choice is truth)
        for truth, choice in zip(gold, predicted, strict=True)
    ]
    return share_tally(right, scale=100)


def macro_f1(sums: Floats) -> Floats:
    """Mean F1 over the strategies that occur on either side, in per cent; from sums `(..., 64)`.

    F1 = 2 TP / (2 TP + FP + FN), 0 for a strategy that is never right.
    """
    table = sums.reshape(*sums.shape[:-1], SIZE, SIZE)
    right = np.diagonal(table, axis1=-2, axis2=-1)
    either = table.sum(axis=-1) + table.sum(axis=-2)
    occurs = either > 0
    f1 = np.where(occurs, 2 * right / np.where(occurs, either, 1), 0.0)
    return _divide(100 * f1.sum(axis=-1), occurs.sum(axis=-1))


def preferences(tables: Floats) -> Floats:
    """How much a model prefers each strategy, whatever the turn needs: `(..., 8, 8)` to `(..., 8)`.

    Bradley-Terry strengths of the confusions: w_ij counts the turns in which strategy i was chosen
    where the corpus has j, a win of i over j. From p = 1 on,

        p_i ← Σ_j w_ij p_j / (p_i + p_j)  /  Σ_j w_ji / (p_i + p_j),    j ≠ i,

    (Newman 2023), scaled to mean 1: above 1 is preferred (Kang et al. 2024, ACL, "Can Large
    Language Models be Good Emotional Supporter?"). Checked against the authors' public script,
    which differs in that it stops after 20 sweeps, converged or not, and divides by zero where a
    strategy is never confused. Here strategies without any confusion are NaN and out of the mean;
    all are NaN where strengths do not exist (no confusion at all, or a side that never loses).

    Args:
        tables: counts, gold by predicted.
    """
    wins = np.swapaxes(tables, -1, -2) * (1 - np.eye(SIZE))
    involved = (wins.sum(axis=-1) + wins.sum(axis=-2)) > 0
    exists = involved.any(axis=-1)
    settled = np.zeros_like(exists)
    strength = np.where(involved, 1.0, 0.0)
    for _ in range(ITERATIONS):
        before = strength.copy()
        for i in range(SIZE):  # one after the other: all at once, two rivals would only swap
            both = strength + strength[..., i, None]
            share = np.divide(1.0, both, out=np.zeros_like(both), where=both > 0)
            won = (wins[..., i, :] * share * strength).sum(axis=-1)
            lost = (wins[..., :, i] * share).sum(axis=-1)
            exists &= ~(involved[..., i] & (lost == 0))
            strength[..., i] = np.divide(won, lost, out=np.zeros_like(won), where=lost > 0)
        mean = _divide(strength.sum(axis=-1), involved.sum(axis=-1))[..., None]
        strength = np.divide(strength, mean, out=np.zeros_like(strength), where=mean > 0)
        settled = np.max(np.abs(strength - before), axis=-1) < TOLERANCE
        if np.all(settled | ~exists):
            break
    found: Floats = np.where(involved & (exists & settled)[..., None], strength, np.nan)
    return found


def preference_bias(table: Floats) -> float | None:
    """Standard deviation of the preferences: 0 has no favourite (Kang et al. 2024).

    Two strategies, the first chosen three times for the second and the second once for the first:
    strengths 3 : 1, scaled 1.5 and 0.5, bias 0.5. None where the strengths do not exist.
    """
    bias = float(_bias(table.reshape(SIZE * SIZE)))
    return None if np.isnan(bias) else bias


def _bias(sums: Floats) -> Floats:
    """Preference bias from sums `(..., 64)`."""
    found = preferences(sums.reshape(*sums.shape[:-1], SIZE, SIZE))
    known = ~np.isnan(found)
    apart = np.where(known, found - 1, 0.0)  # the mean is 1
    bias: Floats = np.sqrt(_divide((apart**2).sum(axis=-1), known.sum(axis=-1)))
    return bias


def _divide(above: Floats, below: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        quotient: Floats = np.where(below > 0, above / below, np.nan)
    return quotient
