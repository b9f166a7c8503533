"""Agreement between raters who choose among categories: percent, Cohen's and Fleiss' kappa.

An item is a mapping of rater to category. A rater who did not judge an item is not in its mapping:
what is missing is left out, never taken as a category of its own. A value that the data cannot give
(no item judged twice, or chance alone agreeing always) is None.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations

from ..scenarios import Record

Item = Mapping[str, str]


class Agreement(Record):
    """Agreement over a set of items.

    Attributes:
        items: with at least two judgements; only they count.
        single: items left out because one rater alone judged them.
        percent: share of agreeing pairs among all pairs of judgements of one item, 0 to 100.
        fleiss: see `fleiss_kappa`.
        cohen: for each pair of raters, named `a / b` in alphabetical order; see `cohen_kappa`.
        common: for each pair, the number of items that both judged.
    """

    items: int
    single: int
    percent: float | None
    fleiss: float | None
    cohen: dict[str, float | None]
    common: dict[str, int]


def agreement(items: Sequence[Item]) -> Agreement:
    """All three measures over the items."""
    shared = [item for item in items if len(item) > 1]
    pairs = sorted(combinations(sorted({rater for item in shared for rater in item}), 2))
    return Agreement(
        items=len(shared),
        single=sum(len(item) == 1 for item in items),
        percent=percent_agreement(items),
        fleiss=fleiss_kappa(items),
        cohen={f"{a} / {b}": cohen_kappa(items, a, b) for a, b in pairs},
        common={f"{a} / {b}": len(_both(items, a, b)) for a, b in pairs},
    )


def percent_agreement(items: Sequence[Item]) -> float | None:
    """Agreeing pairs among all pairs of judgements of one item, in per cent."""
    agreeing = total = 0
    for item in items:
        for first, second in combinations(item.values(), 2):
            agreeing += first == second
            total += 1
    return 100 * agreeing / total if total else None


def cohen_kappa(items: Sequence[Item], a: str, b: str) -> float | None:
    """Cohen's kappa (1960) of two raters over the items that both judged.

    Observed agreement beyond the agreement expected from each rater's own shares of the categories.
    """
    both = _both(items, a, b)
    if not both:
        return None
    first, second = Counter(x for x, _ in both), Counter(y for _, y in both)
    observed = sum(x == y for x, y in both) / len(both)
    expected = sum(first[category] * second[category] for category in first) / len(both) ** 2
    return _beyond_chance(observed, expected)


def fleiss_kappa(items: Sequence[Item]) -> float | None:
    """Fleiss' kappa (1971) over items with at least two judgements, whoever gave them.

    Fleiss assumes the same number n of judgements for each item. Here item i has its own n_i: its
    agreement is the share of agreeing pairs among its n_i(n_i - 1)/2, the mean runs over items, and
    the chance term takes each category's share of all judgements counted. With equal n_i this is
    Fleiss' own formula.
    """
    counts = [Counter(item.values()) for item in items if len(item) > 1]
    if not counts:
        return None
    observed = sum(map(_pairs_agreeing, counts)) / len(counts)
    totals: Counter[str] = sum(counts, Counter())
    expected = sum((count / totals.total()) ** 2 for count in totals.values())
    return _beyond_chance(observed, expected)


def _both(items: Sequence[Item], a: str, b: str) -> list[tuple[str, str]]:
    return [(item[a], item[b]) for item in items if a in item and b in item]


def _pairs_agreeing(count: Counter[str]) -> float:
    n = count.total()
    return sum(k * (k - 1) for k in count.values()) / (n * (n - 1))


def _beyond_chance(observed: float, expected: float) -> float | None:
    # everything fell into one category: agreement and chance are both certain, kappa is undefined
    return None if expected >= 1 else (observed - expected) / (1 - expected)
