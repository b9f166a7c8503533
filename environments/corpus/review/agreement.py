"""Agreement between reviewers who choose among categories: percent, Cohen's and Fleiss' kappa.

An item is a mapping of rater to category. A rater who did not judge an item is not in its mapping:
what is missing is left out, never taken as a category of its own. A value that the data cannot give
(no item judged twice, or chance alone agreeing always) is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from ....core.record import Record
from ...episodes.agreement import cohen_kappa, fleiss_kappa

Item = Mapping[str, str]


class Agreement(Record):
    """Agreement over a set of items.

    Attributes:
        items: with at least two judgements; only they count.
        single: items left out because one rater alone judged them.
        percent: share of agreeing pairs among all pairs of judgements of one item, 0 to 100.
        fleiss: see `environments.agreement`.
        cohen: for each pair of raters, named `a / b` in alphabetical order; see there.
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
        fleiss=fleiss_kappa([list(item.values()) for item in items]),
        cohen={
            f"{a} / {b}": cohen_kappa([i.get(a) for i in items], [i.get(b) for i in items])
            for a, b in pairs
        },
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


def _both(items: Sequence[Item], a: str, b: str) -> list[tuple[str, str]]:
    return [(item[a], item[b]) for item in items if a in item and b in item]
