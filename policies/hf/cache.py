"""Keys and values of many rows of different lengths, in one buffer a layer.

transformers' own `DynamicCache` copies everything at every token and needs rows of one length. Here
a row keeps its slot and starts at column 0, so that joining, leaving and growing move nothing, and
so that what is computed for a row does not depend on how long its neighbours are. Three views of
the same buffers exist, for three kinds of forward pass: `chunk` (a piece of the prompts of
neighbouring slots), `step` (one token for every row) and `branch` (several continuations of one
row).

Sliding-window layers keep the whole row too; the mask applies the window.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

COLUMNS = 64
"""Buffers grow, and masks end, at multiples of this number of columns."""


def rounded_up(number: int, multiple: int) -> int:
    """The smallest multiple that is not below `number`."""
    return -(-number // multiple) * multiple


class _View(Protocol):
    """What a forward pass sees of a buffer `(slots, heads, columns, size)`."""

    @property
    def past(self) -> int:
        """Columns before those that this pass writes."""

    def write(self, buffer: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        """Put `new` in its place; returns what the pass attends to."""


@dataclass(frozen=True, slots=True)
class _Chunk:
    first: int
    rows: int
    past: int

    def write(self, buffer: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        end = self.past + new.shape[2]
        rows = buffer[self.first : self.first + self.rows]
        rows[:, :, self.past : end] = new
        return rows[:, :, :end]


@dataclass(frozen=True, slots=True)
class _Step:
    slots: torch.Tensor
    positions: torch.Tensor
    width: int

    @property
    def past(self) -> int:
        return self.width - 1

    def write(self, buffer: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        buffer[self.slots, :, self.positions] = new[:, :, 0]
        return buffer[: len(self.slots), :, : self.width]


@dataclass(frozen=True, slots=True)
class _Branch:
    slot: int
    past: int

    def write(self, buffer: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
        past = buffer[self.slot, :, : self.past].expand(len(new), -1, -1, -1)
        return torch.cat([past, new], dim=2)


@dataclass(slots=True)
class _Shared:
    """What all layers of one cache have in common."""

    view: _View
    slots: int
    columns: int


class _Layer(CacheLayerMixin):  # type: ignore[misc]
    """One layer's buffers, made at the first forward pass, when their shape is known."""

    is_sliding = False

    def __init__(self, shared: _Shared) -> None:
        super().__init__()
        self.shared = shared

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys, self.values = self._new(key_states), self._new(value_states)
        self.is_initialized = True

    def _new(self, like: torch.Tensor) -> torch.Tensor:
        # zeros, because a masked column still enters as 0 times its value, which must not be NaN
        size = (self.shared.slots, like.shape[1], self.shared.columns, like.shape[3])
        return torch.zeros(size, dtype=like.dtype, device=like.device)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        view = self.shared.view
        return view.write(self.keys, key_states), view.write(self.values, value_states)

    def resize(self) -> None:
        if not self.is_initialized:
            return
        for name in ("keys", "values"):
            old = getattr(self, name)
            new = self._new(old)
            rows, columns = min(len(old), len(new)), min(old.shape[2], new.shape[2])
            new[:rows, :, :columns] = old[:rows, :, :columns]
            setattr(self, name, new)

    def get_seq_length(self) -> int:
        return self.shared.view.past

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.shared.view.past + query_length, 0

    def get_max_length(self) -> int:
        return -1


class RowCache(Cache):  # type: ignore[misc]
    """The cache that is handed to a model's `forward`. Choose a view first.

    Args:
        layers: number of the model's layers.
    """

    def __init__(self, layers: int) -> None:
        self._shared = _Shared(_Chunk(0, 1, 0), slots=0, columns=0)
        super().__init__(layers=[_Layer(self._shared) for _ in range(layers)])

    @property
    def slots(self) -> int:
        """Rows that the buffers hold."""
        return self._shared.slots

    @property
    def columns(self) -> int:
        """Tokens that the buffers hold for each row."""
        return self._shared.columns

    @property
    def n_bytes(self) -> int:
        """Memory of the buffers."""
        return sum(buffer.nbytes for buffer in self._buffers())

    def resize(self, slots: int, columns: int) -> None:
        """Resize for this number of rows and tokens; what fits of the old content is kept."""
        columns = rounded_up(columns, COLUMNS)
        if (slots, columns) == (self._shared.slots, self._shared.columns):
            return
        self._shared.slots, self._shared.columns = slots, columns
        for layer in self.layers:
            layer.resize()

    def chunk(self, first: int, rows: int, past: int) -> None:
        """The next pass computes tokens from column `past` on, for `rows` slots from `first` on."""
        self._shared.view = _Chunk(first, rows, past)

    def step(self, slots: torch.Tensor, positions: torch.Tensor, width: int) -> None:
        """The next pass computes one token a slot, and attends to the first `width` columns.

        Args:
            slots: `(rows,)`, 0, 1, 2 and so on.
            positions: `(rows,)`, the column of each row's token.
        """
        self._shared.view = _Step(slots, positions, width)

    def branch(self, slot: int, past: int) -> None:
        """The next pass computes continuations of `slot`'s first `past` tokens, unstored."""
        self._shared.view = _Branch(slot, past)

    def move(self, source: int, target: int, length: int) -> None:
        """Copy one row's first `length` tokens to another slot."""
        for buffer in self._buffers():
            buffer[target, :, :length] = buffer[source, :, :length]

    def clear(self, slot: int) -> None:
        """Zero one row: a masked column still enters as 0 times its value, which must not be NaN."""
        for buffer in self._buffers():
            buffer[slot] = 0

    def read(self, slot: int, start: int, end: int) -> list[torch.Tensor]:
        """A copy of one row's columns, keys and values of all layers: `(heads, columns, size)`."""
        return [buffer[slot, :, start:end].clone() for buffer in self._buffers()]

    def write(self, slot: int, start: int, pieces: Iterable[torch.Tensor]) -> None:
        """Put back what `read` gave."""
        for buffer, piece in zip(self._buffers(), pieces, strict=True):
            buffer[slot, :, start : start + piece.shape[1]] = piece

    def _buffers(self) -> Iterable[torch.Tensor]:
        for layer in self.layers:
            if layer.is_initialized:
                yield layer.keys
                yield layer.values
