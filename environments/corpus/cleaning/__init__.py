"""Cleaning a corpus: pure, named filters, and the run that writes what they find as tags."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ....core.lazy import lazy_names

if TYPE_CHECKING:
    from .filters.base import Filter, RecordFilter
    from .filters.registry import known_filters, make_filter
    from .report import CleaningReport
    from .run import clean_run, examine
    from .settings import CleanSettings

_HOMES = {
    ".filters.base": ("Filter", "RecordFilter"),
    ".filters.registry": ("known_filters", "make_filter"),
    ".report": ("CleaningReport",),
    ".run": ("clean_run", "examine"),
    ".settings": ("CleanSettings",),
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

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
