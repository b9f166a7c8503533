"""Rows from episodes, losses, and the trainers that turn them into policies.

Names are imported on first use, since they bring torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ..core.errors import MissingExtra

if TYPE_CHECKING:
    from .beam_search.search import BeamOutput, diverse_beam_search

_HOME_OF = {"BeamOutput": "beam_search.search", "diverse_beam_search": "beam_search.search"}

__all__ = ["BeamOutput", "diverse_beam_search"]


def __getattr__(name: str) -> Any:
    if (home := _HOME_OF.get(name)) is None:
        raise AttributeError(f"module 'warmline.training' has no attribute '{name}'")
    try:
        module = import_module(f".{home}", __name__)
    except ModuleNotFoundError as error:
        raise MissingExtra(f"warmline.training.{name}", extra="train") from error
    value = getattr(module, name)
    globals()[name] = value
    return value
