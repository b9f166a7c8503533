"""Building a corpus: import, generation, coverage, cleaning, review and export."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .build_report import BuildReport
    from .build_settings import BuildSettings
    from .builder import build, build_corpus
    from .cleaning import CleaningReport, CleanSettings, clean_run
    from .export import ExportReport, dataset_of, export_corpus
    from .export_settings import ExportSettings
    from .fidelity import seeker_fidelity
    from .import_folder import Imported, import_corpus
    from .importing import Import, ImportReport
    from .review_store import ReviewStore
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
    "ExportReport": "export",
    "ExportSettings": "export_settings",
    "Import": "importing",
    "ImportReport": "importing",
    "Imported": "import_folder",
    "ReviewStore": "review_store",
    "Source": "sources",
    "build": "builder",
    "build_corpus": "builder",
    "clean_run": "cleaning",
    "cleaned": "tags",
    "corpus_statistics": "statistics",
    "dataset_of": "export",
    "export_corpus": "export",
    "import_corpus": "import_folder",
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
