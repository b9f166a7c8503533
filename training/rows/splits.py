"""Splits of what is grouped already: rows, candidates and preference pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from ...core.seeds import hashed_order


class Grouped(Protocol):
    """What belongs to a group that must not be split."""

    @property
    def group(self) -> str: ...


G = TypeVar("G", bound=Grouped)


def split_contexts(contexts: Sequence[G], share: float, seed: int) -> tuple[list[G], list[G]]:
    """Training and validation contexts; whole groups go to one side, by a hash of seed and name."""
    groups = hashed_order({context.group for context in contexts}, seed)
    count = round(share * len(groups))
    if share > 0 and len(groups) > 1:
        count = max(1, count)
    held = set(groups[:count])
    return [c for c in contexts if c.group not in held], [c for c in contexts if c.group in held]
