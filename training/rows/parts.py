"""One part of rows that several jobs share, without a copy of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from ...core.shards.division import part_of
from .spool import Ordered

T = TypeVar("T")


def share_of(items: Sequence[T], part: str) -> Sequence[T]:
    """Every n-th item: the parts `1/n` to `n/n` are disjoint and together are all."""
    number, parts = part_of(part)
    return Ordered(items, range(number - 1, len(items), parts))
