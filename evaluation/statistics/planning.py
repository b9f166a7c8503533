"""Several seeds of one figure, and how many dialogues are enough to see a difference."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev

from ...core.errors import ConfigError

Value = float | None


@dataclass(frozen=True, slots=True)
class AcrossSeeds:
    """One figure over runs that differ in the seed alone.

    Attributes:
        mean: over the runs that have it; None if none has.
        sd: sample standard deviation (n − 1); None with fewer than two runs.
        n, missing: runs with and without the figure.
    """

    mean: float | None
    sd: float | None
    n: int
    missing: int

    def __str__(self) -> str:
        if self.mean is None:
            return f"missing in all {self.missing} runs"
        spread = "" if self.sd is None else f" ± {self.sd:.2f}"
        lost = f", {self.missing} missing" if self.missing else ""
        return f"{self.mean:.2f}{spread} (n = {self.n}{lost})"


def across_seeds(values: Sequence[Value]) -> AcrossSeeds:
    """Mean and sample standard deviation of one figure over several seeds."""
    known = [float(v) for v in values if v is not None and not math.isnan(v)]
    return AcrossSeeds(
        mean=fmean(known) if known else None,
        sd=stdev(known) if len(known) > 1 else None,
        n=len(known),
        missing=len(values) - len(known),
    )


def dialogues_needed(
    difference: float,
    sd: float,
    *,
    paired: bool = True,
    power: float = 0.8,
    alpha: float = 0.05,
    replies_per_dialogue: float = 1.0,
    intraclass: float = 0.0,
) -> int:
    """Dialogues (in each arm, if unpaired) to find a true mean difference with a two-sided test.

    n = (z_{1−α/2} + z_{power})² · sd² / difference² for paired differences, twice that for two
    independent arms; with r replies a dialogue correlated by ρ, times the design effect
    (1 + (r − 1) ρ) / r (Kish 1965). Normal approximation: for small n add two or three.

    Args:
        difference: smallest difference of means that matters, in the metric's unit.
        sd: standard deviation of the paired differences, or of the values if unpaired.
        paired: the same scenarios and seeds for both systems.
        replies_per_dialogue: values that one dialogue gives.
        intraclass: correlation ρ of values within a dialogue, 0 to 1.

    Example: a difference of 0.5 with sd 1, paired: (1.960 + 0.842)² · 1 / 0.25 = 31.4, so 32.

    Raises:
        ConfigError: numbers out of range, all reported at once.
    """
    checks = (
        ("difference must not be 0", difference != 0),
        ("sd must be above 0", sd > 0),
        ("power must lie between 0 and 1", 0 < power < 1),
        ("alpha must lie between 0 and 1", 0 < alpha < 1),
        ("replies_per_dialogue must be at least 1", replies_per_dialogue >= 1),
        ("intraclass must lie from 0 to 1", 0 <= intraclass <= 1),
    )
    if problems := [text for text, holds in checks if not holds]:
        raise ConfigError("no sample size follows from this", problems=problems)
    normal = NormalDist()
    z = normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)
    effect = (1 + (replies_per_dialogue - 1) * intraclass) / replies_per_dialogue
    return math.ceil((1 if paired else 2) * (z * sd / difference) ** 2 * effect)
