"""An analysis from files to files: what `warmline analyze` does except printing."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...core.files import write_whole
from ...environments.episodes.episode import Episode
from .analysis import WORDS_NAME, Analysis, analyse, plain
from .corpus import SAMPLE, read_corpus
from .figures import clear_figures, draw_figures
from .tables import tables
from .text import hub_tokenizer, words

ANALYSIS_NAME = "analysis.json"
TABLES_NAME = "tables.md"
FIGURES_NAME = "figures"


@dataclass(frozen=True, slots=True)
class AnalysisFiles:
    """An analysis as it is shown and written.

    Attributes:
        analysis: all numbers.
        record: the same as JSON text.
        page: the same as Markdown tables, published figures beside them.
        figures: names of the figures drawn, without suffix.
    """

    analysis: Analysis
    record: str
    page: str
    figures: tuple[str, ...] = ()


def analyse_files(
    corpora: Sequence[str | Path | tuple[str, str | Path]],
    *,
    out: str | Path | None = None,
    limit: int = SAMPLE,
    seed: int = 0,
    tokenizer: str | Path | None = None,
    figures: bool = True,
    observe: Callable[[Episode], None] | None = None,
) -> AnalysisFiles:
    """Read one to five corpora, analyse them side by side, and write what was found.

    Args:
        corpora: runs' folders or log files; a pair of name and path names the column.
        out: folder for `analysis.json`, `tables.md` and the folder `figures`; None writes nothing.
        limit: how many dialogues of a corpus are compared at most.
        seed: seed of samples and intervals.
        tokenizer: folder of a Hugging Face tokenizer for Distinct; default: words.
        figures: draw figures into `out`.
        observe: called with each dialogue as it is read.

    Raises:
        DataError: no log, a line that is not an episode, or no dialogue at all.
        ConfigError: too many corpora, two of one name, or no tokenizer there.
        MissingExtra: the libraries of the analyses are not installed.
        RunError: the disk refuses.
    """
    named = [each if isinstance(each, tuple) else (None, each) for each in corpora]
    analysis = analyse(
        [
            read_corpus(path, name=name, sample=limit, seed=seed, observe=observe)
            for name, path in named
        ],
        seed=seed,
        tokenize=hub_tokenizer(str(tokenizer)) if tokenizer else words,
        tokenizer=Path(tokenizer).name if tokenizer else WORDS_NAME,
    )
    record = json.dumps(plain(analysis), ensure_ascii=False, indent=2)
    page = tables(analysis)
    drawn: list[str] = []
    if out is not None:
        clear_figures(Path(out) / FIGURES_NAME)  # none of an earlier analysis beside these tables
        write_whole(Path(out) / ANALYSIS_NAME, record + "\n")
        write_whole(Path(out) / TABLES_NAME, page)
        drawn = draw_figures(analysis, Path(out) / FIGURES_NAME) if figures else []
    return AnalysisFiles(analysis, record, page, tuple(drawn))
