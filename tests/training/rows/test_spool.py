"""Rows beyond a thousand lie in a file and read as those of a list."""

from __future__ import annotations

import gc
import os
import random
import weakref
from pathlib import Path

import pytest

from warmline.training.rows import spool
from warmline.training.rows.spool import Ordered, Spool


class Item:
    def __init__(self, number: int) -> None:
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Item) and self.number == other.number

    __hash__ = None  # type: ignore[assignment]


@pytest.mark.parametrize("count", [0, 3, spool.IN_MEMORY, spool.IN_MEMORY + 1, 2500])
def test_a_spool_reads_as_a_list(count: int) -> None:
    plain = [Item(n) for n in range(count)]
    kept = Spool(plain)
    assert len(kept) == count
    assert kept == plain
    assert plain == kept
    for n in random.Random(3).choices(range(-count, count), k=50) if count else ():
        assert kept[n] == plain[n]
    assert kept[1:-1:7] == plain[1:-1:7]
    with pytest.raises(IndexError):
        kept[count]
    kept.append(Item(-1))
    assert kept[count] == Item(-1)
    assert kept != plain


def test_what_is_spooled_is_not_held() -> None:
    alive: list[int] = []
    kept: Spool[Item] = Spool()
    for n in range(3 * spool.IN_MEMORY):
        item = Item(n)
        alive.append(n)
        weakref.finalize(item, alive.remove, n)
        kept.append(item)
    del item
    gc.collect()
    assert len(alive) == spool.IN_MEMORY
    assert kept[-1] == Item(3 * spool.IN_MEMORY - 1)


def test_the_file_is_in_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    kept = Spool(Item(n) for n in range(spool.IN_MEMORY + 5))
    assert kept[-1] == Item(spool.IN_MEMORY + 4)
    assert list(tmp_path.iterdir()) == []


def test_processes_that_share_a_spool_do_not_disturb_each_other() -> None:
    kept = Spool(Item(n) for n in range(spool.IN_MEMORY + 500))
    assert kept[-1].number == spool.IN_MEMORY + 499
    child = os.fork()
    numbers = [item.number for item in kept]
    whole = numbers == list(range(spool.IN_MEMORY + 500))
    if child == 0:
        os._exit(0 if whole else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert whole


def test_another_order_is_no_copy() -> None:
    kept = Spool(Item(n) for n in range(5))
    ordered = Ordered(kept, [4, 0, 2])
    assert [item.number for item in ordered] == [4, 0, 2]
    assert [item.number for item in ordered[1:]] == [0, 2]
    assert len(ordered) == 3
