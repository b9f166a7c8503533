"""Rows from episodes, losses, and the trainers that turn them into policies.

Names are imported on first use, since they bring torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.lazy import lazy_names

if TYPE_CHECKING:
    from .beam_search.search import BeamOutput, diverse_beam_search

_HOMES = {
    ".beam_search.search": ("BeamOutput", "diverse_beam_search"),
}

__all__ = ["BeamOutput", "diverse_beam_search"]

__getattr__, __dir__ = lazy_names(__name__, _HOMES, extra="train")
