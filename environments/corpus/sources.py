"""Where a corpus comes from: `sources.json` beside `episodes.jsonl`, one entry a source.

It is the provenance that a data card prints and that the licence guard of an export reads. What
licence a known corpus carries is written down here once; for anything else it is `unknown` until
the user says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from ...core.errors import DataError
from ...core.files import read_json, write_whole
from ...core.record import Record, Text, problems_of
from ..scenarios.seed_pool import SOURCE as SEED_POOL

SOURCE_VERSION: Literal[1] = 1
SOURCES_NAME = "sources.json"
UNKNOWN_LICENCE = "unknown"

Count = Annotated[int, Field(ge=0)]


class Source(Record):
    """One source of a corpus.

    Attributes:
        name: as `Episode.source` has it.
        licence: in SPDX's spelling, with `AND research-only` where that is a condition; `unknown`
            where nobody said.
        url: where it is published.
        file: name of the file or folder that was read, without its path.
        sha256: of that file (of a folder: of its files' names and contents), in hex.
        format: the importer.
        recipe: the normalisation, by name or as its steps.
        records: read from the file.
        episodes: kept.
        dropped: dialogues left out, by the reason.
    """

    version: Literal[1] = SOURCE_VERSION
    name: Text
    licence: Text = UNKNOWN_LICENCE
    url: str = ""
    file: str = ""
    sha256: str = ""
    format: str = ""
    recipe: str = ""
    records: Count = 0
    episodes: Count = 0
    dropped: dict[str, Count] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KnownCorpus:
    """What is known of a published corpus, read from its authors' pages; of ours, by us."""

    licence: str
    url: str


KNOWN_CORPORA = {
    # part of this package, under its licence
    SEED_POOL: KnownCorpus("Apache-2.0", ""),
    "esconv": KnownCorpus(
        "CC-BY-NC-4.0 AND research-only",
        "https://github.com/thu-coai/Emotional-Support-Conversation",
    ),
    "failed_esconv": KnownCorpus(
        "CC-BY-NC-4.0 AND research-only",
        "https://github.com/thu-coai/Emotional-Support-Conversation",
    ),
    "empathetic_dialogues": KnownCorpus(
        "CC-BY-NC-4.0", "https://github.com/facebookresearch/EmpatheticDialogues"
    ),
    "smilechat": KnownCorpus("CC0-1.0", "https://github.com/qiuhuachuan/smile"),
    # its repository states no licence for the data
    "extes": KnownCorpus(UNKNOWN_LICENCE, "https://github.com/pandazzh2020/ExTES"),
    "augesc": KnownCorpus("CC-BY-NC-4.0", "https://github.com/thu-coai/AugESC"),
}


def write_sources(folder: str | Path, sources: Iterable[Source]) -> None:
    """Write `sources.json` of a corpus folder, in one step.

    Raises:
        RunError: the disk refuses.
    """
    entries = [source.model_dump(mode="json") for source in sources]
    text = json.dumps({"sources": entries}, indent=2, ensure_ascii=False)
    write_whole(Path(folder) / SOURCES_NAME, text + "\n")


def read_sources(folder: str | Path) -> tuple[Source, ...]:
    """The sources of a corpus folder (or of the file itself); empty where none are recorded.

    Raises:
        DataError: `sources.json` is there and cannot be read; names the entry and the field.
    """
    path = Path(folder)
    if path.name != SOURCES_NAME:
        path /= SOURCES_NAME
    if not path.is_file():
        return ()
    data = read_json(path)
    entries = data.get("sources") if isinstance(data, dict) else None
    if not isinstance(entries, list):
        raise DataError(
            "no list of sources", file=path, field="sources", hint="`warmline import` writes it"
        )
    return tuple(_source(entry, number, path) for number, entry in enumerate(entries))


def _source(entry: object, number: int, path: Path) -> Source:
    try:
        return Source.model_validate(entry)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise DataError(
            "; ".join(problems_of(error, Source)),
            file=path,
            field=".".join(map(str, ("sources", number, *first["loc"]))),
            hint="a source has the fields " + ", ".join(Source.model_fields),
        ) from None
