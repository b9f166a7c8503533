"""How sure a share is: the Wilson interval, for `clean`, metrics and judges alike."""

from __future__ import annotations

import math
from statistics import NormalDist


def wilson(
    count: float, of: float, *, level: float = 0.95
) -> tuple[float, float] | tuple[None, None]:
    """The Wilson interval of a share (Wilson 1927); Nones for none of none.

    Unlike a bootstrap it knows that 6 of 6 does not prove a share of 1. For 1 of 10: centre
    (0.1 + 1.9207/10) / 1.38415 = 0.2110, reach 0.1931, so (0.0179, 0.4042).

    Args:
        count: those that hold; a fraction where ties count half.
        of: all; an effective number where they are not independent.
        level: coverage, within (0, 1).
    """
    if not of:
        return None, None
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, per = count / of, z * z / of
    centre = (share + per / 2) / (1 + per)
    spread = max(0.0, share * (1 - share)) / of + per / (4 * of)
    reach = z * math.sqrt(spread) / (1 + per)
    low = 0.0 if share <= 0 else max(0.0, centre - reach)
    high = 1.0 if share >= 1 else min(1.0, centre + reach)
    return low, high
