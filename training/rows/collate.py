"""Rows into batches, and in which order: little padding, and logits only where a label is.

Batches are padded on the right and need no attention mask: attention is causal, and padding comes
last. `logits_to_keep` spares the vocabulary projection for all places that predict no label.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Dataset, Sampler

from .encode import IGNORED, Encoded
from .trees import depths, visible

MEGABATCH = 32
"""Steps whose rows are sorted by length together: enough for little padding, few enough to mix."""


class RowDataset(Dataset[Any]):  # type: ignore[misc]
    """Encoded rows, pairs or contexts, wherever they lie."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]


class Collator:
    """Pads rows into a batch, on the right.

    A batch of decoder-only rows holds `input_ids` and `labels` `(batch, time)`, and
    `logits_to_keep` `(kept,)`, the places whose logits are needed; one with trees also
    `position_ids` `(batch, time)` and `attention_mask` `(batch, 1, time, time)`, True where a token
    sees another. A batch of encoder-decoder rows
    holds `input_ids`, `attention_mask` `(batch, source)`, `decoder_input_ids` and `labels` `(batch,
    target)`.

    Args:
        pad: id of the padding token.
        arguments: what the model's forward pass takes; others are left out.
    """

    def __init__(self, pad: int, arguments: frozenset[str]) -> None:
        self._pad, self._arguments = pad, arguments

    def __call__(self, rows: Sequence[Encoded]) -> dict[str, Any]:
        batch = self._pairs(rows) if rows[0].decoder_input_ids is not None else self._chats(rows)
        return {k: v for k, v in batch.items() if k in self._arguments or k == "labels"}

    def _chats(self, rows: Sequence[Encoded]) -> dict[str, Any]:
        labels = right_padded([row.labels for row in rows], IGNORED)
        return {
            "input_ids": right_padded([row.input_ids for row in rows], self._pad),
            "labels": labels,
            "logits_to_keep": places_to_keep(labels),
            **(_paths(rows, labels.shape[1]) if any(row.parents for row in rows) else {}),
        }

    def _pairs(self, rows: Sequence[Encoded]) -> dict[str, Any]:
        return {
            "input_ids": right_padded([row.input_ids for row in rows], self._pad),
            "attention_mask": right_padded([[1] * len(row.input_ids) for row in rows], 0),
            "decoder_input_ids": right_padded(
                [row.decoder_input_ids or [] for row in rows], self._pad
            ),
            "labels": right_padded([row.labels for row in rows], IGNORED),
        }


def _paths(rows: Sequence[Encoded], longest: int) -> dict[str, torch.Tensor]:
    """Positions and masks of rows some of which are trees."""
    parents = [row.parents or list(range(-1, row.tokens - 1)) for row in rows]
    return {
        "position_ids": right_padded([depths(each) for each in parents], 0),
        "attention_mask": torch.stack([visible(each, longest)[None] for each in parents]),
    }


def places_to_keep(labels: torch.Tensor) -> torch.Tensor:
    """The places `(kept,)` that predict a label in any row of a batch: those before the labels.

    Args:
        labels: `(batch, time)`, -100 where there is no loss.
    """
    return (labels[:, 1:] != IGNORED).any(0).nonzero().flatten()


def left_padded(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """Rows as one tensor `(batch, time)`, filled up on the left."""
    longest = max(map(len, rows))
    return torch.tensor([[value] * (longest - len(row)) + list(row) for row in rows])


def right_padded(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """Rows as one tensor `(batch, time)`, filled up on the right."""
    longest = max(map(len, rows))
    return torch.tensor([list(row) + [value] * (longest - len(row)) for row in rows])


class StepSampler(Sampler[int]):  # type: ignore[misc]
    """An order of rows in which the rows of one step are about equally long.

    It depends on seed and epoch alone: a resumed run sees the same rows, and a step holds the same
    rows however it is divided into batches.

    Args:
        lengths: of the rows, in tokens.
        step: rows in one optimizer step, over all devices.
        seed: of the order.
    """

    def __init__(self, lengths: Sequence[int], step: int, seed: int) -> None:
        self._lengths, self._step, self._seed = lengths, step, seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """The pass that is iterated next, from 0."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        chance = random.Random(f"{self._seed}/{self._epoch}")  # noqa: S311 - not cryptography
        order = list(range(len(self._lengths)))
        chance.shuffle(order)
        size = self._step * MEGABATCH
        steps = []
        for start in range(0, len(order), size):
            near = sorted(order[start : start + size], key=self._lengths.__getitem__, reverse=True)
            steps += [near[n : n + self._step] for n in range(0, len(near), self._step)]
        # a last step that is not full must stay last, or batches would not match steps
        full = [step for step in steps if len(step) == self._step]
        chance.shuffle(full)
        for step in [*full, *(step for step in steps if len(step) < self._step)]:
            yield from step


def padding_share(rows: Sequence[Encoded], order: Sequence[int], batch: int) -> float:
    """Share of places in batches that hold only padding."""
    lengths = [len(rows[n].input_ids) for n in order]
    batches = [lengths[n : n + batch] for n in range(0, len(lengths), batch)]
    return 1 - sum(lengths) / sum(max(each) * len(each) for each in batches)
