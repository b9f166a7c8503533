"""Which units are given to whom: small leases, so that slow units do not keep others waiting."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence

LARGEST = 64
"""Units of a lease at most."""

SHARE = 4
"""A lease is at most one of so many equal shares of what is left for each worker; so leases become
smaller towards the end, and all workers end together."""

MAX_LOSSES = 5
"""Workers that may be lost with the same unit open before it is taken for the cause."""


class Leases:
    """Hands out units, takes back those of lost shards, and counts what is done.

    Args:
        units: numbers of those to be done, in their order; kept as they are.
        workers: shards that share them.
    """

    def __init__(self, units: Sequence[int], workers: int) -> None:
        self._units, self._given = units, 0
        self._left = len(units)
        self._back: deque[int] = deque()
        self._workers = max(1, workers)
        self._open: dict[int, dict[int, None]] = {}
        self._losses: Counter[int] = Counter()

    @property
    def over(self) -> bool:
        """Whether every unit is done."""
        return not self._left

    def _count(self) -> int:
        """Units that nobody has."""
        return len(self._back) + len(self._units) - self._given

    def open(self, shard: int) -> list[int]:
        """Units given to a shard that it has not finished."""
        return list(self._open.get(shard, ()))

    def take(self, shard: int, wanted: int, running: int = 1) -> list[int]:
        """Units for a shard, at most `wanted`; none if none is left for it now.

        Args:
            running: shards that run now. A shard has at most an equal share of what these are to
                finish, so that few units are spread over all, whichever asks first.
        """
        share = -(-self._left // max(1, running)) - len(self._open.get(shard, ()))
        if share < 1 or not self._count():
            return []
        fair = -(-self._count() // (SHARE * self._workers))
        count = min(share, max(1, min(wanted, LARGEST, fair)))
        given = [self._back.popleft() for _ in range(min(count, len(self._back)))]
        new = self._units[self._given : self._given + count - len(given)]
        self._given += len(new)
        given += new
        self._open.setdefault(shard, {}).update(dict.fromkeys(given))
        return given

    def done(self, shard: int, unit: int) -> bool:
        """A shard has finished a unit; False if it was not one of its own."""
        held = self._open.get(shard, {})
        if unit not in held:
            return False
        del held[unit]
        self._left -= 1
        return True

    def lost(self, shard: int) -> list[int]:
        """Take back what a shard has not finished, to be given out first.

        Returns:
            The units that were open in `MAX_LOSSES` lost shards.
        """
        back = list(self._open.pop(shard, ()))
        self._back.extendleft(reversed(back))
        self._losses.update(back)
        return [unit for unit in back if self._losses[unit] >= MAX_LOSSES]
