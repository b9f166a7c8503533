"""What training reads: episodes and instruction rows from files, their hashes, and their split.

Splits are by scenario, never by row; `environments/corpus/splits.py` says which conversations are
about the same scenario.
"""

from __future__ import annotations

import gzip
import random
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ...core.errors import ConfigError, DataError
from ...core.files import sha256_of
from ...core.jsonl import parse_json
from ...core.record import Record
from ...environments.corpus.splits import held_out
from ...environments.episodes.episode import Episode
from ...environments.episodes.log import log_files, read_episodes
from ...environments.episodes.sequence import Episodes
from ...environments.episodes.sides import place_of, side_digest
from ...policies.base import Message
from .build import Row

T = TypeVar("T")


class DataSource(Record):
    """One source of training data, as a checkpoint records it.

    Attributes:
        name: of the file or folder, without the path.
        sha256: by file name; of a side also that of its ids, as `split.json:SIDE`.
        items: episodes or instruction rows in it.
    """

    name: str
    sha256: dict[str, str]
    items: int


def load_episodes(paths: Sequence[str | Path]) -> tuple[Episodes, tuple[DataSource, ...]]:
    """The episodes of run folders and logs, and what identifies them; see `open_episodes`."""
    parts = _parts(paths)
    read = zip(paths, parts, strict=True)
    sources = tuple(
        source_of(path, log_files(path), len(part), side_digest(place_of(path)))
        for path, part in read
    )
    return Episodes.joined(parts), sources


def open_episodes(paths: Sequence[str | Path]) -> Episodes:
    """The episodes of run folders and logs; their records are read when they are asked for.

    Raises:
        ConfigError: no path is given.
        DataError: a path holds no log, or a line that is not an episode.
    """
    return Episodes.joined(_parts(paths))


def _parts(paths: Sequence[str | Path]) -> list[Episodes]:
    if not paths:
        raise ConfigError(
            "no data to train on",
            hint="name it: a run's folder, an episode log or FOLDER:SIDE",
        )
    if settings := [path for path in paths if Path(path).suffix == ".toml"]:
        raise ConfigError(f"{settings[0]} holds no data", hint=f"settings: --config {settings[0]}")
    parts = [read_episodes(path) for path in paths]
    if not any(map(len, parts)):
        raise DataError("holds no episode", file=paths[0])
    return parts


def source_of(
    path: str | Path, files: Iterable[Path], items: int, more: Mapping[str, str] | None = None
) -> DataSource:
    """The record of one source.

    Args:
        more: further digests, such as that of a side.
    """
    hashes = {file.name: sha256_of(file) for file in files} | dict(more or {})
    return DataSource(name=Path(path).resolve().name, sha256=hashes, items=items)


def split_episodes(
    episodes: Sequence[Episode], share: float, seed: int
) -> tuple[Sequence[Episode], Sequence[Episode]]:
    """Training and validation episodes; whole scenarios go to one side, see `held_out`.

    Args:
        share: of the groups of scenarios that is held out, in [0, 1).
    """
    return held_out(episodes, share, seed)


def read_instructions(path: str | Path) -> list[Row]:
    """Instruction rows as training rows: JSON list or JSON lines, also gzipped.

    Each object has `instruction`, `output` and perhaps `input`, as Alpaca's.

    Raises:
        DataError: no such file, no JSON, or a row without instruction or output.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError("no such file", file=file, hint="give a JSON or JSONL file of instructions")
    try:
        raw = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        text = raw.decode("utf-8")
        listed = text.lstrip().startswith("[")
        data = (
            parse_json(text) if listed else [parse_json(x) for x in text.split("\n") if x.strip()]
        )
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"not JSON: {error}", file=file) from None
    return [_instruction(item, file, number) for number, item in enumerate(data, 1)]


def _instruction(item: Any, file: Path, number: int) -> Row:
    if not isinstance(item, Mapping):
        raise DataError("no JSON object", file=file, line=number)
    values = {
        name: str(item.get(name) or "").strip() for name in ("instruction", "input", "output")
    }
    for name in ("instruction", "output"):
        if not values[name]:
            raise DataError("is empty or missing", file=file, line=number, field=name)
    asked = "\n\n".join(filter(None, (values["instruction"], values["input"])))
    name = f"{file.name}#{number}"
    return Row(name, name, (Message("user", asked), Message("assistant", values["output"])), (1,))


def replay_count(rows: int, available: int, *, number: int | None, share: float | None) -> int:
    """How many instruction rows to add to `rows` rows.

    Args:
        number: so many; or
        share: so that they are this share of all: share * rows / (1 - share), rounded.

    Raises:
        ConfigError: there are fewer than that.
    """
    wanted = number if number is not None else available
    if share is not None:
        wanted = round(share * rows / (1 - share))
    if wanted > available:
        raise ConfigError(
            f"{wanted} instruction rows are to be replayed, and the file has {available}",
            hint="lower replay_rows or replay_share, or give a larger file",
        )
    return wanted


def draw(items: Sequence[T], count: int, seed: int) -> list[T]:
    """`count` different items, the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - not cryptography
    return [items[place] for place in chance.sample(range(len(items)), count)]
