"""Splits of what is grouped already: rows, candidates and preference pairs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from ...environments.corpus.splits import held_out_groups


class Grouped(Protocol):
    """What belongs to a group that must not be split."""

    @property
    def group(self) -> str: ...


G = TypeVar("G", bound=Grouped)


def split_contexts(contexts: Sequence[G], share: float, seed: int) -> tuple[list[G], list[G]]:
    """Training and validation contexts; whole groups go to one side, as in `held_out`."""
    held = held_out_groups((context.group for context in contexts), share, seed)
    return [c for c in contexts if c.group not in held], [c for c in contexts if c.group in held]
