"""How good choices are: accuracy, macro-F1, confusions, preference bias, calibration. Pure.

For options by index, in plain Python. `evaluation/metrics/strategy.py` measures strategies of a run
with intervals, and needs the extra `eval`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

BINS = 10
ITERATIONS = 1000
TOLERANCE = 1e-9

Table = list[list[int]]
"""Counts, right option by chosen one."""


@dataclass(frozen=True, slots=True)
class Bin:
    """One row of a reliability table.

    Attributes:
        low, high: confidences in (low, high]; 0 belongs to the first.
        count: choices with such a confidence.
        confidence, accuracy: their means; None where there are none.
    """

    low: float
    high: float
    count: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Quality:
    """What was measured of some choices; None where nothing was.

    Attributes:
        count: choices.
        accuracy: share that hit the first right option.
        accuracy_any: share that hit any right option.
        macro_f1: mean F1 over options that occur on either side.
        bias: preference bias (Kang et al. 2024).
        ece: expected calibration error; None without confidences.
        nll: mean negative log-probability of the first right option, nats; None without them.
        table: confusions, by first right option and chosen one.
        reliability: by confidence.
    """

    count: int
    accuracy: float | None
    accuracy_any: float | None
    macro_f1: float | None
    bias: float | None
    ece: float | None
    nll: float | None
    table: Table
    reliability: tuple[Bin, ...] = ()

    def numbers(self) -> dict[str, float | None]:
        """The single figures, by name."""
        return {k: v for k, v in asdict(self).items() if k not in ("count", "table", "reliability")}

    def as_json(self) -> dict[str, Any]:
        """All of it as plain data."""
        return asdict(self)


def measure(
    right: Sequence[Sequence[int]],
    chosen: Sequence[int],
    options: int,
    probabilities: Sequence[Sequence[float]] | None = None,
) -> Quality:
    """Measure choices.

    Args:
        right: the right options of each, the first one first.
        chosen: one each.
        options: how many there are.
        probabilities: of each option; gives calibration.
    """
    firsts = [labels[0] for labels in right]
    table = confusion(firsts, chosen, options)
    hits = [a == b for a, b in zip(firsts, chosen, strict=True)]
    any_hits = [c in labels for c, labels in zip(chosen, right, strict=True)]
    ece = nll = None
    bins: tuple[Bin, ...] = ()
    if probabilities is not None and firsts:
        confidences = [p[c] for p, c in zip(probabilities, chosen, strict=True)]
        bins = reliability(confidences, hits)
        ece = calibration_error(bins)
        nll = -sum(
            math.log(max(p[a], 1e-30)) for p, a in zip(probabilities, firsts, strict=True)
        ) / len(firsts)
    return Quality(
        count=len(hits),
        accuracy=_mean(hits),
        accuracy_any=_mean(any_hits),
        macro_f1=macro_f1(table),
        bias=preference_bias(table),
        ece=ece,
        nll=nll,
        table=table,
        reliability=bins,
    )


def confusion(right: Sequence[int], chosen: Sequence[int], options: int) -> Table:
    """Counts, right option by chosen one."""
    table = [[0] * options for _ in range(options)]
    for truth, choice in zip(right, chosen, strict=True):
        table[truth][choice] += 1
    return table


def macro_f1(table: Table) -> float | None:
    """Mean of 2 TP / (2 TP + FP + FN) over options that occur on either side."""
    scores = []
    for i, row in enumerate(table):
        either = sum(row) + sum(other[i] for other in table)
        if either:
            scores.append(2 * row[i] / either)
    return _mean(scores)


def preferences(table: Table) -> list[float | None]:
    """Bradley–Terry strengths of the confusions, of mean 1; choosing i where j is right is i's win.

    Newman's iteration, as in `evaluation/metrics/strategy.py`. None for options without a
    confusion, and for all where strengths do not exist (a side that never wins or never loses).
    """
    n = len(table)
    wins = [[table[j][i] if i != j else 0 for j in range(n)] for i in range(n)]
    active = [i for i in range(n) if sum(wins[i]) + sum(row[i] for row in wins)]
    strength = dict.fromkeys(active, 1.0)
    none: list[float | None] = [None] * n
    if not active:
        return none
    for _ in range(ITERATIONS):
        before = dict(strength)
        for i in active:
            pairs = [(j, strength[i] + strength[j]) for j in active if j != i]
            lost = sum(wins[j][i] / both for j, both in pairs if both > 0)
            won = sum(wins[i][j] * strength[j] / both for j, both in pairs if both > 0)
            if lost == 0:
                return none
            strength[i] = won / lost
        mean = sum(strength.values()) / len(active)
        if mean == 0:
            return none
        strength = {i: value / mean for i, value in strength.items()}
        if max(abs(strength[i] - before[i]) for i in active) < TOLERANCE:
            return [strength.get(i) for i in range(n)]
    return none


def preference_bias(table: Table) -> float | None:
    """Standard deviation of the preferences; 0 has no favourite (Kang et al. 2024, ACL).

    Option 0 chosen three times for 1, and 1 once for 0: strengths 1.5 and 0.5, bias 0.5.
    """
    known = [value for value in preferences(table) if value is not None]
    if not known:
        return None
    return math.sqrt(sum((value - 1) ** 2 for value in known) / len(known))


def reliability(
    confidences: Sequence[float], hits: Sequence[bool], bins: int = BINS
) -> tuple[Bin, ...]:
    """Confidence against accuracy in bins of equal width (Guo et al. 2017)."""
    held: list[list[tuple[float, bool]]] = [[] for _ in range(bins)]
    for confidence, hit in zip(confidences, hits, strict=True):
        held[min(bins - 1, max(0, math.ceil(confidence * bins) - 1))].append((confidence, hit))
    return tuple(
        Bin(
            n / bins,
            (n + 1) / bins,
            len(found),
            _mean([confidence for confidence, _ in found]),
            _mean([hit for _, hit in found]),
        )
        for n, found in enumerate(held)
    )


def calibration_error(bins: Sequence[Bin]) -> float | None:
    """Expected calibration error: mean gap between confidence and accuracy, over choices.

    Two choices at 0.9 of which one is right, and two at 0.6, both right: (2·0.4 + 2·0.4)/4 = 0.4.
    """
    total = sum(each.count for each in bins)
    gaps = [
        each.count * abs(each.confidence - each.accuracy)
        for each in bins
        if each.confidence is not None and each.accuracy is not None
    ]
    return sum(gaps) / total if total else None


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
