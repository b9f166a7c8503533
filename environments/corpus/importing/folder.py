"""An import as a corpus folder: episodes, sources, what was changed, and statistics."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from ....core.files import write_whole
from ..folder import new_folder
from ..sources import Source, write_sources
from ..statistics import CorpusStatistics, StatisticsCounter, strategy_shares
from .reader import Import, ImportReport, write_episodes

REPORT_NAME = "import.json"
STATISTICS_NAME = "statistics.json"


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of an import.

    Attributes:
        sources: provenance, as in `sources.json`; none where no folder was written.
    """

    report: ImportReport
    statistics: CorpusStatistics
    sources: tuple[Source, ...] = ()


def import_corpus(
    importing: Import,
    out: str | Path | None = None,
    *,
    licence: str | None = None,
    url: str | None = None,
) -> Imported:
    """Read a file once, and write what it holds as a corpus folder.

    Args:
        importing: what to read, and by which recipe.
        out: the folder to make; None counts and writes nothing.
        licence, url: of the source, where it is not a known corpus.

    Raises:
        RunError: the folder is there already and not empty, or the disk refuses.
        DataError: nothing in the file can be read.
    """
    counter = StatisticsCounter()
    episodes = counter.passing(importing)
    if out is None:
        for _ in episodes:
            pass
        return Imported(importing.report, counter.result())
    with new_folder(out) as folder:
        write_episodes(folder, episodes)
        sources = importing.sources(licence, url)
        write_sources(folder, sources)
        statistics = counter.result()
        _write_json(folder / REPORT_NAME, importing.report.to_dict())
        _write_json(folder / STATISTICS_NAME, _whole(statistics, importing.report))
    return Imported(importing.report, statistics, sources)


def _whole(statistics: CorpusStatistics, report: ImportReport) -> dict[str, object]:
    """The statistics with the strategies, as kept and as the source has them."""
    return {
        **statistics.to_dict(),
        "strategies": statistics.strategies,
        "strategy_shares_before_merging": strategy_shares(report.tally.strategies),
    }


def _write_json(path: Path, data: dict[str, object]) -> None:
    write_whole(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")
