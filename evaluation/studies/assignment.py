"""Who gets which item next. Pure: the counts come from the database, see `tasks.py`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Rule = Literal["least", "random"]


@dataclass(frozen=True, slots=True)
class Load:
    """One item as it stands.

    Attributes:
        taken: annotations done and under way; those left, expired or discarded do not count.
        mine: whether this participant has or had it.
        gold: everybody may get it, however often it was taken.
    """

    item: str
    taken: int
    mine: bool = False
    gold: bool = False


def next_item(
    loads: Iterable[Load],
    *,
    overlap: int,
    rule: Rule,
    seed: int,
    participant: str,
    done: int = 0,
    gold_every: int = 0,
) -> str | None:
    """The item that a participant gets next; None if there is none.

    `least` takes an item with the fewest annotations, `random` any below the overlap; ties are
    broken by a hash of seed, participant and item, so each participant has an order of their own.

    Args:
        loads: all items.
        overlap: annotations an item should have.
        rule: see above.
        seed: of the study.
        participant: the pseudonym.
        done: tasks this participant has finished.
        gold_every: every so many tasks a gold item comes, while there is an ordinary one after it.
    """
    free, gold = [], []
    for load in loads:
        if load.mine:
            continue
        if load.gold:
            gold.append(load)
        elif load.taken < overlap:
            free.append(load)
    if not free:
        return None

    def place(load: Load) -> tuple[int, bytes]:
        name = f"{seed}\0{participant}\0{load.item}".encode()
        return (load.taken if rule == "least" else 0, hashlib.blake2b(name, digest_size=8).digest())

    if gold and gold_every and (done + 1) % gold_every == 0:
        return min(gold, key=lambda load: place(load)[1]).item
    return min(free, key=place).item


def shown_first(seed: int, task: str, turn: int) -> Literal["A", "B"]:
    """Which of two texts stands first: a coin that follows from seed, task and turn."""
    name = f"side\0{seed}\0{task}\0{turn}".encode()
    return "A" if hashlib.blake2b(name, digest_size=1).digest()[0] & 1 else "B"


def tie_goes_to(seed: int, task: str, turn: int) -> Literal["A", "B"]:
    """Which reply goes on after a tie, likewise and independently."""
    name = f"tie\0{seed}\0{task}\0{turn}".encode()
    return "A" if hashlib.blake2b(name, digest_size=1).digest()[0] & 1 else "B"
