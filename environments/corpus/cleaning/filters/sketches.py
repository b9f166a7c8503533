"""Sketches of many dialogues in little memory, found by the bands that they share.

A band is looked up in a hash table of its own, whose chains run through the kept sketches: the bands
themselves are compared, so no key is held. 128 values in 16 bands take about 0.7 kB a sketch.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

BLOCK = 4096
"""Sketches whose memory is taken at a time; blocks are never copied."""

Array = np.ndarray[Any, Any]


class Sketches:
    """Sketches by their place, in the order in which they were added.

    Args:
        bands: of a sketch.
        rows: values a band.
    """

    def __init__(self, bands: int, rows: int) -> None:
        self._bands, self._rows = bands, rows
        self._blocks: list[Array] = []  # (BLOCK, bands, rows)
        self._before: list[Array] = []  # (BLOCK, bands): 1 + the place before it in its chain, or 0
        self._bits = 8
        self._last = self._no_chains()  # (bands, 2**bits): 1 + the last place of each chain, or 0
        self._count = 0
        chance = random.Random(1)  # noqa: S311 - not cryptography
        factors = [chance.getrandbits(64) | 1 for _ in range(rows)]
        self._factors = np.array(factors, dtype="uint64")

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: int) -> Array:
        """The values of a sketch."""
        return self._values(place).reshape(-1)

    def add(self, sketch: Array) -> int:
        """Keep a sketch of 32-bit values `(bands * rows,)`; its place."""
        place = self._count
        if place == BLOCK * len(self._blocks):
            self._blocks.append(np.zeros((BLOCK, self._bands, self._rows), dtype="uint32"))
            self._before.append(np.zeros((BLOCK, self._bands), dtype="uint32"))
        if place == 1 << self._bits:
            self._bits += 1
            self._chain_anew()
        bands = sketch.reshape(self._bands, self._rows)
        chains = self._chains(bands)
        each = np.arange(self._bands)
        self._blocks[place // BLOCK][place % BLOCK] = bands
        self._before[place // BLOCK][place % BLOCK] = self._last[each, chains]
        self._last[each, chains] = place + 1
        self._count += 1
        return place

    def sharing(self, sketch: Array) -> set[int]:
        """Places of the sketches that have a whole band in common with this one."""
        bands = sketch.reshape(self._bands, self._rows)
        found: set[int] = set()
        for band, chain in enumerate(self._chains(bands).tolist()):
            at, wanted = int(self._last[band, chain]), bands[band].tobytes()
            while at:
                place, row = divmod(at - 1, BLOCK)
                if self._blocks[place][row, band].tobytes() == wanted:
                    found.add(at - 1)
                at = int(self._before[place][row, band])
        return found

    def _values(self, place: int) -> Array:
        block, row = divmod(range(self._count)[place], BLOCK)
        values: Array = self._blocks[block][row]
        return values

    def _chains(self, bands: Array) -> Array:
        """The chain of each band `(..., bands, rows)` in its table, by multiply-shift hashing."""
        hashed = (bands * self._factors).sum(axis=-1) >> np.uint64(64 - self._bits)
        chains: Array = hashed.astype(np.intp)
        return chains

    def _no_chains(self) -> Array:
        return np.zeros((self._bands, 1 << self._bits), dtype="uint32")

    def _chain_anew(self) -> None:
        """Spread what is kept over twice as many chains, in the order of places."""
        self._last = self._no_chains()
        for number, block in enumerate(self._blocks):
            first = number * BLOCK
            chains = self._chains(block[: self._count - first])
            for band, (last, of) in enumerate(zip(self._last, chains.T, strict=True)):
                order = np.argsort(of, kind="stable")
                own = of[order]
                begins = np.append(True, own[1:] != own[:-1])[: len(own)]
                places = (order + first + 1).astype("uint32")
                before = np.where(begins, last[own], np.roll(places, 1))
                self._before[number][order, band] = before
                last[own] = places  # of several places in one chain the last one stays
