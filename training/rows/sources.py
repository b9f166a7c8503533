"""What training reads: episodes and instruction rows from files, what they hash to, and how they split.

Splits are by scenario, never by row: all conversations about one scenario, and about scenarios that
tell the same situation, are on one side.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from ...core.errors import ConfigError, DataError
from ...core.files import sha256_of
from ...core.record import Record
from ...core.seeds import hashed_order
from ...environments.corpus.splits import Groups
from ...environments.episodes.episode import Episode
from ...environments.episodes.log import log_files, read_episodes
from ...policies.base import Message
from .build import Row, group_of

TELLING_WORDS = 8
"""A situation of fewer words may be a placeholder, and does not tie two scenarios together."""

T = TypeVar("T")


class DataSource(Record):
    """One source of training data, as a checkpoint records it.

    Attributes:
        name: of the file or folder, without the path.
        sha256: by file name.
        items: episodes or instruction rows in it.
    """

    name: str
    sha256: dict[str, str]
    items: int


def load_episodes(paths: Sequence[str | Path]) -> tuple[list[Episode], tuple[DataSource, ...]]:
    """The episodes of run folders and logs, and what identifies them.

    Raises:
        ConfigError: no path is given.
        DataError: a path holds no log, or a line that is no episode.
    """
    if not paths:
        raise ConfigError(
            "no data to train on", hint="--data FOLDER, with a run's folder or an episode log"
        )
    episodes: list[Episode] = []
    sources = []
    for path in paths:
        read = read_episodes(path)
        episodes += read
        sources.append(source_of(path, log_files(path), len(read)))
    if not episodes:
        raise DataError("holds no episode", file=paths[0])
    return episodes, tuple(sources)


def source_of(path: str | Path, files: Iterable[Path], items: int) -> DataSource:
    """The record of one source."""
    hashes = {file.name: sha256_of(file) for file in files}
    return DataSource(name=Path(path).resolve().name, sha256=hashes, items=items)


def split_episodes(
    episodes: Sequence[Episode], share: float, seed: int
) -> tuple[list[Episode], list[Episode]]:
    """Training and validation episodes; whole scenarios go to one side.

    Groups are ordered by a hash of the seed and their first scenario's id, so the split does not
    depend on the order of the files. At least one group is kept for validation unless `share` is 0
    or there is only one group.

    Args:
        share: of the groups, in [0, 1).
    """
    groups = scenario_groups(episodes)
    names = hashed_order(set(groups), seed)
    count = round(share * len(names))
    if share > 0 and len(names) > 1:
        count = max(1, count)
    held = set(names[:count])
    train = [e for e, group in zip(episodes, groups, strict=True) if group not in held]
    return train, [e for e, group in zip(episodes, groups, strict=True) if group in held]


def scenario_groups(episodes: Sequence[Episode]) -> list[str]:
    """For each episode the name of its group: the least id of scenarios that belong together.

    Scenarios belong together if they have one id or tell one situation (of at least eight words).
    """
    groups = Groups()
    for episode in episodes:
        words = episode.scenario.situation.casefold().split()
        groups.key(group_of(episode))
        if len(words) >= TELLING_WORDS:
            groups.join(group_of(episode), "told\0" + " ".join(words))
    keys = [groups.key(group_of(episode)) for episode in episodes]
    least: dict[str, str] = {}
    for key, episode in zip(keys, episodes, strict=True):
        least[key] = min(least.get(key, group_of(episode)), group_of(episode))
    return [least[key] for key in keys]


def read_instructions(path: str | Path) -> list[Row]:
    """Instruction rows as training rows: JSON list or JSON lines, also gzipped.

    Each object has `instruction`, `output` and perhaps `input`, as Alpaca's.

    Raises:
        DataError: no such file, no JSON, or a row without instruction or output.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError("no such file", file=file, hint="give a JSON or JSONL file of instructions")
    raw = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    try:
        text = raw.decode("utf-8")
        listed = text.lstrip().startswith("[")
        data = (
            json.loads(text) if listed else [json.loads(x) for x in text.splitlines() if x.strip()]
        )
    except ValueError as error:
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
    return random.Random(seed).sample(list(items), count)  # noqa: S311 - not cryptography
