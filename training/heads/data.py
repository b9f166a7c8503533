"""Rows for heads, and how they are packed: prompts that begin one another share a pass.

A dialogue's prompts for its successive turns mostly are beginnings of the longest one. A causal
model computes the same states for them as within it, so each dialogue is one sequence with several
places at which the heads are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ...environments.episodes.episode import Episode
from ...policies.base import Message
from ...policies.heads.network import HeadReader, padded
from ..rows.build import BadRow
from ..rows.encode import IGNORED
from ..rows.sources import DataSource, load_episodes, split_episodes
from ..rows.spool import Spool
from .settings import ClassifierSettings


@dataclass(frozen=True, slots=True)
class HeadRow:
    """One prompt and what the heads should make of it.

    Attributes:
        id: names it in messages.
        group: rows of one group are not split, and may be packed together.
        messages: as the seated policy is asked.
        labels: by head, the index of the right option; -100 where it is not known.
    """

    id: str
    group: str
    messages: tuple[Message, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Packed:
    """Token ids with places of heads.

    Attributes:
        input_ids: of the longest prompt.
        places: index of the last token of each prompt.
        labels: of each place, by head.
        ids: of the rows, by place.
    """

    input_ids: tuple[int, ...]
    places: tuple[int, ...]
    labels: tuple[tuple[int, ...], ...]
    ids: tuple[str, ...]

    @property
    def tokens(self) -> int:
        """Length."""
        return len(self.input_ids)


def pack(rows: Iterable[tuple[HeadRow, Sequence[int]]]) -> Iterator[Packed]:
    """Sequences that hold every prompt once, at its own place.

    A prompt joins the latest sequence if they are of one group and one of the two begins the other.

    Args:
        rows: in order, groups together, each with its token ids.
    """
    group, held, places = "", list[int](), list[tuple[HeadRow, int]]()
    for row, ids in rows:
        shared = min(len(held), len(ids))
        if not (places and row.group == group and list(ids[:shared]) == held[:shared]):
            if places:
                yield _packed(held, places)
            group, held, places = row.group, [], []
            shared = 0
        held.extend(ids[shared:])
        places.append((row, len(ids) - 1))
    if places:
        yield _packed(held, places)


def _packed(held: Sequence[int], places: Sequence[tuple[HeadRow, int]]) -> Packed:
    return Packed(
        tuple(held),
        tuple(place for _, place in places),
        tuple(row.labels for row, _ in places),
        tuple(row.id for row, _ in places),
    )


def encode_heads(
    reader: HeadReader, rows: Iterable[HeadRow], *, cut: bool = False
) -> tuple[Spool[Packed], list[BadRow]]:
    """Packed rows, and those that are too long.

    Args:
        cut: leave out the oldest messages of rows that are too long, as the seated policy does;
            such rows begin no other, so in training they would cost a pass each.
    """
    bad: list[BadRow] = []

    def encoded() -> Iterator[tuple[HeadRow, Sequence[int]]]:
        for row in rows:
            ids = reader.encode(row.messages)
            if len(ids) <= reader.limit:
                yield row, ids
            elif cut:
                yield row, reader.fit(row.messages)
            else:
                detail = f"{len(ids)} tokens, at most {reader.limit}"
                bad.append(BadRow(row.id, "too_long", detail))

    return Spool(pack(encoded())), bad


class PackedCollator:
    """Pads packed rows on the left into what `HeadedModel` takes, and labels `(places, heads)`.

    Args:
        pad: id of the padding token.
    """

    def __init__(self, pad: int) -> None:
        self._pad = pad

    def __call__(self, rows: Sequence[Packed]) -> dict[str, Any]:
        batch = padded([row.input_ids for row in rows], self._pad)
        longest = batch["input_ids"].shape[1]
        batch["places"] = torch.tensor(
            [
                (n, longest - row.tokens + place)
                for n, row in enumerate(rows)
                for place in row.places
            ]
        )
        batch["labels"] = torch.tensor([labels for row in rows for labels in row.labels])
        return batch


def known_labels(rows: Sequence[Packed]) -> list[list[int]]:
    """By head the labels that are known, over all places."""
    heads = len(rows[0].labels[0]) if rows else 0
    return [
        [labels[head] for row in rows for labels in row.labels if labels[head] != IGNORED]
        for head in range(heads)
    ]


def split_sides(
    settings: ClassifierSettings,
) -> tuple[tuple[Sequence[Episode], Sequence[Episode], Sequence[Episode]], tuple[DataSource, ...]]:
    """Training, validation and test episodes: shares of the scenarios, or logs of their own.

    The share for validation is of what the test leaves.
    """
    episodes: Sequence[Episode]
    test: Sequence[Episode]
    validation: Sequence[Episode]
    episodes, sources = load_episodes(settings.data)
    if settings.test:
        test, more = load_episodes(settings.test)
        sources += more
    else:
        episodes, test = split_episodes(episodes, settings.test_share, settings.seed)
    if settings.validation:
        validation, more = load_episodes(settings.validation)
        sources += more
    else:
        episodes, validation = split_episodes(episodes, settings.validation_share, settings.seed)
    return (episodes, validation, test), sources
