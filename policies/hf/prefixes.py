"""Keys and values of prompts already computed, found again by their tokens."""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict
from collections.abc import Iterator, Sequence

import torch

from .cache import RowCache


class PrefixStore:
    """Blocks of keys and values, each under the hash of all tokens up to its end.

    A prompt's prefix is found whoever asked for it before: the same dialogue a turn earlier, or
    another one with the same instructions. Blocks begin at multiples of `block` tokens and prompts
    are computed in the same steps, so that a stored block holds the very numbers that would be
    computed again. The least recently used go first.

    Args:
        block: tokens in a block.
        max_bytes: memory for all blocks; 0 stores nothing.
    """

    def __init__(self, *, block: int, max_bytes: int) -> None:
        self.block, self.max_bytes = block, max_bytes
        self._blocks: OrderedDict[bytes, list[torch.Tensor]] = OrderedDict()
        self._bytes = 0

    @property
    def n_bytes(self) -> int:
        """Memory in use."""
        return self._bytes

    def load(self, cache: RowCache, slot: int, tokens: Sequence[int], owner: str) -> int:
        """Fill a slot with the longest known prefix of `tokens`, its last token excepted.

        Args:
            owner: the adapter that computes; each has its own blocks.

        Returns:
            Tokens that need not be computed.
        """
        found: list[bytes] = []
        for key in self._keys(tokens[:-1], owner):
            if key not in self._blocks:
                break
            found.append(key)
        for number, key in enumerate(found):
            cache.write(slot, number * self.block, self._blocks[key])
        for key in reversed(found):  # the first block of a prefix is the last to be given up
            self._blocks.move_to_end(key)
        return len(found) * self.block

    def save(self, cache: RowCache, slot: int, tokens: Sequence[int], owner: str) -> None:
        """Keep the whole blocks of a row that has been computed."""
        if not self.max_bytes:
            return
        keys = list(self._keys(tokens, owner))
        for number, key in enumerate(keys):
            if key not in self._blocks:
                pieces = cache.read(slot, number * self.block, (number + 1) * self.block)
                self._blocks[key] = pieces
                self._bytes += sum(piece.nbytes for piece in pieces)
        for key in reversed(keys):
            self._blocks.move_to_end(key)
        while self._bytes > self.max_bytes:
            _, pieces = self._blocks.popitem(last=False)
            self._bytes -= sum(piece.nbytes for piece in pieces)

    def clear(self) -> None:
        """Forget everything."""
        self._blocks.clear()
        self._bytes = 0

    def _keys(self, tokens: Sequence[int], owner: str) -> Iterator[bytes]:
        key = owner.encode()
        for start in range(0, len(tokens) - self.block + 1, self.block):
            piece = array("q", tokens[start : start + self.block]).tobytes()
            key = hashlib.blake2b(key + piece, digest_size=16).digest()
            yield key
