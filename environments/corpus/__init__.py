"""Building a corpus: import, generation, coverage, cleaning, review and export."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cleaning import CleaningReport, CleanSettings, clean_run
    from .cleaning.fidelity import seeker_fidelity
    from .exporting.export import ExportReport, dataset_of, export_corpus
    from .exporting.settings import ExportSettings
    from .generation.build import build, build_corpus
    from .generation.report import BuildReport
    from .generation.settings import BuildSettings
    from .importing.folder import Imported, import_corpus
    from .importing.reader import Import, ImportReport
    from .review.store import ReviewStore
    from .sources import Source, read_sources, write_sources
    from .statistics import CorpusStatistics, corpus_statistics
    from .tags import Choice, cleaned, kept, read_tags

_LATE = {
    "BuildReport": "generation.report",
    "BuildSettings": "generation.settings",
    "Choice": "tags",
    "CleanSettings": "cleaning",
    "CleaningReport": "cleaning",
    "CorpusStatistics": "statistics",
    "ExportReport": "exporting.export",
    "ExportSettings": "exporting.settings",
    "Import": "importing.reader",
    "ImportReport": "importing.reader",
    "Imported": "importing.folder",
    "ReviewStore": "review.store",
    "Source": "sources",
    "build": "generation.build",
    "build_corpus": "generation.build",
    "clean_run": "cleaning",
    "cleaned": "tags",
    "corpus_statistics": "statistics",
    "dataset_of": "exporting.export",
    "export_corpus": "exporting.export",
    "import_corpus": "importing.folder",
    "kept": "tags",
    "read_sources": "sources",
    "read_tags": "tags",
    "seeker_fidelity": "cleaning.fidelity",
    "write_sources": "sources",
}

__all__ = [
    "BuildReport",
    "BuildSettings",
    "Choice",
    "CleanSettings",
    "CleaningReport",
    "CorpusStatistics",
    "ExportReport",
    "ExportSettings",
    "Import",
    "ImportReport",
    "Imported",
    "ReviewStore",
    "Source",
    "build",
    "build_corpus",
    "clean_run",
    "cleaned",
    "corpus_statistics",
    "dataset_of",
    "export_corpus",
    "import_corpus",
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
