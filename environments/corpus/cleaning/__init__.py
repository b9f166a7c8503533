"""Cleaning a corpus: pure, named filters, and the run that writes what they find as tags."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .filters.base import Filter, RecordFilter
    from .filters.registry import known_filters, make_filter
    from .report import CleaningReport
    from .run import clean_run, examine
    from .settings import CleanSettings

_LATE = {
    "CleanSettings": "settings",
    "CleaningReport": "report",
    "Filter": "filters.base",
    "RecordFilter": "filters.base",
    "clean_run": "run",
    "examine": "run",
    "known_filters": "filters.registry",
    "make_filter": "filters.registry",
}

__all__ = [
    "CleanSettings",
    "CleaningReport",
    "Filter",
    "RecordFilter",
    "clean_run",
    "examine",
    "known_filters",
    "make_filter",
]


def __getattr__(name: str) -> Any:
    if (module := _LATE.get(name)) is None:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f".{module}", __name__), name)
