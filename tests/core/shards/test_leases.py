"""Leases: everything is given out, what is lost comes back first, and leases shrink to the end."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from warmline.core.shards.leases import LARGEST, MAX_LOSSES, Leases


@given(
    count=st.integers(0, 300),
    workers=st.integers(1, 9),
    wanted=st.integers(1, 100),
    seed=st.integers(0, 1000),
)
def test_every_unit_is_done_once_whoever_is_lost(
    count: int, workers: int, wanted: int, seed: int
) -> None:
    chance = random.Random(seed)
    leases, done = Leases(range(count), workers), []
    while not leases.over:
        shard = chance.randrange(workers)
        leases.take(shard, wanted, running=chance.randint(1, workers))
        for unit in leases.open(shard):
            if chance.random() < 0.7:
                assert leases.done(shard, unit)
                done.append(unit)
        if chance.random() < 0.2:
            leases.lost(shard)
    assert sorted(done) == list(range(count))


def test_leases_are_small_and_shrink() -> None:
    leases = Leases(range(1000), 4)
    sizes = []
    while given_out := leases.take(0, 1000):
        sizes.append(len(given_out))
    assert sizes[0] == -(-1000 // 16) <= LARGEST
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 1


def test_few_units_are_spread_over_all_that_run() -> None:
    leases = Leases(range(8), 2)
    while leases.take(0, 8, running=2):
        pass  # the first asks again before the other has loaded its model
    assert leases.open(0) == [0, 1, 2, 3]
    while leases.take(1, 8, running=2):
        pass
    assert leases.open(1) == [4, 5, 6, 7]


def test_one_that_runs_alone_gets_everything() -> None:
    leases = Leases(range(8), 2)
    while leases.take(0, 8, running=1):
        pass
    assert leases.open(0) == list(range(8))


def test_what_was_lost_is_given_out_first() -> None:
    leases = Leases(range(100), 2)
    first, second = leases.take(0, 8), leases.take(1, 8)
    assert leases.lost(0) == []
    assert leases.take(1, 8) == first
    assert leases.open(1) == second + first


def test_a_unit_of_another_shard_is_not_done() -> None:
    leases = Leases(range(4), 2)
    (unit,) = leases.take(0, 1)
    assert not leases.done(1, unit)
    assert leases.done(0, unit)
    assert not leases.done(0, unit)


def test_a_unit_that_loses_its_workers_again_and_again_is_told() -> None:
    leases = Leases(range(2), 1)
    for _ in range(MAX_LOSSES - 1):
        assert 0 in leases.take(0, 8)
        assert leases.lost(0) == []
    leases.take(0, 1)
    assert leases.lost(0) == [0]
