"""Splits of what is grouped already: rows, candidates and preference pairs."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import Protocol, TypeVar

from ...environments.corpus.splits import held_out_groups
from .spool import Ordered


class Grouped(Protocol):
    """What belongs to a group that must not be split."""

    @property
    def group(self) -> str: ...


G = TypeVar("G", bound=Grouped)


def split_contexts(
    contexts: Sequence[G], share: float, seed: int
) -> tuple[Sequence[G], Sequence[G]]:
    """Training and validation contexts; whole groups go to one side, as in `held_out`.

    Both are views of `contexts`, which may lie in a file.
    """
    held = held_out_groups((context.group for context in contexts), share, seed)
    sides: tuple[array[int], array[int]] = array("Q"), array("Q")
    for place, context in enumerate(contexts):
        sides[context.group in held].append(place)
    return Ordered(contexts, sides[0]), Ordered(contexts, sides[1])
