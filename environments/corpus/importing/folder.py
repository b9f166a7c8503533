"""An import as a corpus folder: episodes, sources, what was changed, and statistics."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ....core.files import write_whole
from ....core.outside.progress import observed
from ...episodes.episode import Episode
from ...episodes.sides import write_split
from ..folder import new_folder
from ..sources import Source, write_sources
from ..statistics import CorpusStatistics, StatisticsCounter, strategy_shares
from .importers.registry import SEEDS
from .reader import Import, ImportReport, write_episodes
from .seeds import SeedImport

REPORT_NAME = "import.json"
STATISTICS_NAME = "statistics.json"
SEEDS_FOLDER = "warmline-seeds"


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
    importing: Import | SeedImport,
    out: str | Path | None = None,
    *,
    licence: str | None = None,
    url: str | None = None,
    observe: Callable[[Episode], None] | None = None,
) -> Imported:
    """Read a file once, and write what it holds as a corpus folder.

    Args:
        importing: what to read, and by which recipe. The dialogues that ship bring their sides.
        out: the folder to make; None counts and writes nothing.
        licence, url: of the source, where it is not a known corpus.
        observe: called with each dialogue as it is taken in.

    Raises:
        RunError: the folder is there already and not empty, or the disk refuses.
        DataError: nothing in the file can be read.
    """
    counter = StatisticsCounter()
    episodes = counter.passing(observed(importing, observe))
    if out is None:
        for _ in episodes:
            pass
        return Imported(importing.report, counter.result())
    with new_folder(out) as folder:
        write_episodes(folder, episodes)
        sources = importing.sources(licence, url)
        write_sources(folder, sources)
        if isinstance(importing, SeedImport):
            write_split(folder, importing.split())
        statistics = counter.result()
        _write_json(folder / REPORT_NAME, importing.report.to_dict())
        _write_json(folder / STATISTICS_NAME, _whole(statistics, importing.report))
    return Imported(importing.report, statistics, sources)


@contextmanager
def opened(named: str | Path) -> Iterator[str | Path]:
    """A corpus by its path; `seeds` and `seeds:SIDE` are the dialogues that ship.

    Those lie in a folder of their own as long as the block runs. A path of that name comes first.

    Raises:
        RunError: the disk refuses.
    """
    name, colon, side = str(named).partition(":")
    if name != SEEDS or Path(name).exists() or Path(named).exists():
        yield named
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / SEEDS_FOLDER
        import_corpus(SeedImport(), folder)
        yield f"{folder}{colon}{side}"


def _whole(statistics: CorpusStatistics, report: ImportReport) -> dict[str, object]:
    """The statistics with the strategies, as kept and as the source has them."""
    return {
        **statistics.to_dict(),
        "strategies": statistics.strategies,
        "strategy_shares_before_merging": strategy_shares(report.tally.strategies),
    }


def _write_json(path: Path, data: dict[str, object]) -> None:
    write_whole(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")
