"""Building a corpus: import, generation, coverage, cleaning, review and export."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .build_report import BuildReport
    from .build_settings import BuildSettings
    from .builder import build, build_corpus
    from .cleaning import CleaningReport, CleanSettings, clean_run
    from .fidelity import seeker_fidelity
    from .importing import Import, ImportReport
    from .sources import Source, read_sources, write_sources
    from .statistics import CorpusStatistics, corpus_statistics
    from .tags import Choice, cleaned, kept, read_tags

_LATE = {
    "BuildReport": "build_report",
    "BuildSettings": "build_settings",
    "Choice": "tags",
    "CleanSettings": "cleaning",
    "CleaningReport": "cleaning",
    "CorpusStatistics": "statistics",
    "Import": "importing",
    "ImportReport": "importing",
    "Source": "sources",
    "build": "builder",
    "build_corpus": "builder",
    "clean_run": "cleaning",
    "cleaned": "tags",
    "corpus_statistics": "statistics",
    "kept": "tags",
    "read_sources": "sources",
    "read_tags": "tags",
    "seeker_fidelity": "fidelity",
    "write_sources": "sources",
}

__all__ = [
    "BuildReport",
    "BuildSettings",
    "Choice",
    "CleanSettings",
    "CleaningReport",
    "CorpusStatistics",
    "Import",
    "ImportReport",
    "Source",
    "build",
    "build_corpus",
    "clean_run",
    "cleaned",
    "corpus_statistics",
    "kept",
    "read_sources",
    "read_tags",
    "seeker_fidelity",
    "write_sources",
]


def __getattr__(name: str) -> Any:
    if (module := _LATE.get(name)) is None:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f".{module}", __name__), name)
