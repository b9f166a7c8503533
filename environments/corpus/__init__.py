"""Building a corpus: import, generation, coverage, cleaning, review and export."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.lazy import lazy_names

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
    from .importing.seeds import SeedImport, seed_episodes
    from .review.store import ReviewStore
    from .sources import Source, read_sources, write_sources
    from .statistics import CorpusStatistics, corpus_statistics
    from .tags import Choice, cleaned, kept, read_tags

_HOMES = {
    ".cleaning": ("CleanSettings", "CleaningReport", "clean_run"),
    ".cleaning.fidelity": ("seeker_fidelity",),
    ".exporting.export": ("ExportReport", "dataset_of", "export_corpus"),
    ".exporting.settings": ("ExportSettings",),
    ".generation.build": ("build", "build_corpus"),
    ".generation.report": ("BuildReport",),
    ".generation.settings": ("BuildSettings",),
    ".importing.folder": ("Imported", "import_corpus"),
    ".importing.reader": ("Import", "ImportReport"),
    ".importing.seeds": ("SeedImport", "seed_episodes"),
    ".review.store": ("ReviewStore",),
    ".sources": ("Source", "read_sources", "write_sources"),
    ".statistics": ("CorpusStatistics", "corpus_statistics"),
    ".tags": ("Choice", "cleaned", "kept", "read_tags"),
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
    "SeedImport",
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
    "seed_episodes",
    "seeker_fidelity",
    "write_sources",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
