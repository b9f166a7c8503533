"""Seeds: every seed, hashed order and hashed rank that decides what is stored, in one place.

Nothing here depends on time, order of work, concurrency or machine, so equal runs give equal
records. The formulas decide stored results and therefore never change; `tests/test_seed_formulas.py`
pins each with known values. A new kind of work gets `named_seed` with a name of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import TypeVar

N = TypeVar("N", bound=str)


def _first_31_bits(digest: bytes) -> int:
    return int.from_bytes(digest[:4], "big") >> 1


def _blake(*parts: object, size: int = 4) -> bytes:
    return hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=size).digest()


def _sha(*parts: object, between: str = "/") -> bytes:
    return hashlib.sha256(between.join(map(str, parts)).encode()).digest()


def call_seed(run_seed: int, scenario_id: str, call_index: int) -> int:
    """The seed of one call of an episode, in [0, 2**31).

    Args:
        call_index: of the call within its episode, from 0.
    """
    parts = f"{run_seed}\0{scenario_id}\0{call_index}".encode()
    return _first_31_bits(hashlib.blake2b(parts, digest_size=4).digest())


def named_seed(seed: int, name: str) -> int:
    """The seed of a piece of work that has a name, in [0, 2**31)."""
    return _first_31_bits(_blake(seed, name))


def sample_seed(seed: int | None, context: str, number: int) -> int:
    """The seed of the `number`-th sample drawn for a context, in [0, 2**31); no seed counts as 0."""
    return _first_31_bits(_blake(seed or 0, context, number))


def reask_seed(seed: int | None, nth: int) -> int | None:
    """The seed of the nth time a request is asked again: itself at 0, then another, always the same."""
    return seed if seed is None or nth == 0 else _first_31_bits(_sha(seed, nth))


def salted_seed(seed: int | None, salt: str, nth: int) -> int | None:
    """The seed of the nth question that a wrapper or a judge asks of its own, in [0, 2**31)."""
    return None if seed is None else _first_31_bits(_sha(salt, seed, nth))


def hashed_order(names: Iterable[N], seed: int) -> list[N]:
    """Names in a random order that follows from seed and name; a new name moves none of the others.

    The order of scenarios in which a share is held out from training.
    """
    return sorted(names, key=lambda name: _blake(seed, name, size=64))


def hashed_reading_order(names: Iterable[N], seed: int, reader: str) -> list[N]:
    """The same for one reader among several: each reads in an order of their own."""
    return sorted(names, key=lambda name: _sha(seed, reader, name, between="\0"))


def hashed_place(seed: int, name: str) -> float:
    """A place in [0, 1) that follows from seed and name; ratios cut this line into splits."""
    return int.from_bytes(_sha(seed, name, between="\0")[:8], "big") / 2**64


def hashed_rank(seed: int, name: str) -> int:
    """A rank in [0, 2**64) that follows from seed and name; the lowest ranks make a sample."""
    return int.from_bytes(_sha(seed, name)[:8], "big")
