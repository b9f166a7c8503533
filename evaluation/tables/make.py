"""What `warmline tables` does except printing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.errors import RunError
from ...core.files import write_whole
from ...core.settings import expect_settings, read_settings
from .assemble import fill_tables
from .commands import prepared
from .curves import write_curves
from .page import as_csv, as_data, page, script
from .result import TableResult
from .settings import TablesSettings, make_plan
from .specs import read_paper
from .start import first_settings

FILES = ("tables.md", "tables.json", "cells.csv", "commands.sh")
FIGURES_NAME = "figures"


@dataclass(frozen=True, slots=True)
class TablesMade:
    """Filled tables as they are shown and written.

    Attributes:
        page: Markdown.
        data: plain data, the reason and commands of every missing cell included.
        files: names in the folder, if one was given.
    """

    tables: tuple[TableResult, ...]
    page: str
    data: dict[str, Any]
    files: tuple[str, ...] = ()


def make_tables(paper: str, settings: TablesSettings | None = None, **fields: Any) -> TablesMade:
    """Fill every table of a paper from finished folders; nothing is trained or asked.

    Args:
        paper: fpemf, sweetiechat, self-evolution or questions.
        settings: all settings in one record, in place of single fields. Without places results are
            looked for where the commands that are shown put them.
        fields: any field of `TablesSettings`.

    Returns:
        The tables; written to `out` if that is set: `tables.md` (which `warmline report --appendix`
        shows), `tables.json`, `cells.csv`, `commands.sh` with what would fill the rest, and curves
        in `figures`.

    Raises:
        ConfigError: no such paper, or settings that do not fit it.
        DataError: a file that cannot be read.
        RunError: the disk refuses.

    Example:
        ```python
        make_tables("self-evolution", places=("m0.evaluations=evals/m0",), given=True)
        ```
    """
    chosen = settings or read_settings(TablesSettings, given=fields)
    expect_settings(chosen, TablesSettings, "make_tables")
    found = read_paper(paper)
    plan = make_plan(found, chosen)
    filled = fill_tables(plan)
    left_out = 0
    if chosen.given:
        shown = {(table.key, row.key) for table in filled for row in table.rows}
        every = {(table.key, use.row) for table in found.tables for use in table.rows}
        left_out = len(every - shown)
    text, data = page(found, filled, left_out), as_data(found, filled)
    if chosen.out is None:
        return TablesMade(tuple(filled), text, data)
    bodies = (
        text,
        json.dumps(data, ensure_ascii=False, indent=2) + "\n",
        as_csv(filled),
        script(prepared(plan), filled),
    )
    for name, body in zip(FILES, bodies, strict=True):
        write_whole(Path(chosen.out) / name, body)
    drawn = write_curves(filled, Path(chosen.out) / FIGURES_NAME)
    names = (*FILES, *(f"{FIGURES_NAME}/{name}" for name in drawn))
    return TablesMade(tuple(filled), text, data, names)


def first_tables_settings(
    paper: str, file: str | Path, settings: TablesSettings | None = None
) -> Path:
    """Write a `tables.toml` with every row of a paper, each with its commands.

    Args:
        settings: whose names, seeds and places it begins with.

    Raises:
        ConfigError: no such paper, or settings that do not fit it.
        RunError: the file is there already.
    """
    path = Path(file)
    if path.exists():
        raise RunError(f"{path} is there already", hint="--config names another file")
    plan = make_plan(read_paper(paper), settings or TablesSettings())
    write_whole(path, first_settings(plan))
    return path
