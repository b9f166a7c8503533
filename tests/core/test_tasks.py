"""Many questions at once: how many, in which order, and what a failure or a stop does."""

from __future__ import annotations

import asyncio

import pytest

from warmline.core.errors import Interrupted
from warmline.core.tasks import for_each


async def test_no_more_than_asked_for_are_in_flight() -> None:
    open_now, most, done = 0, 0, []

    async def work(job: int) -> None:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        await asyncio.sleep(0.001)
        open_now -= 1
        done.append(job)

    await for_each(range(7), work, 3)
    assert most == 3
    assert sorted(done) == list(range(7))


async def test_the_first_failure_ends_all() -> None:
    begun, finished = [], []

    async def work(job: int) -> None:
        begun.append(job)
        if job == 1:
            raise ValueError("broken")
        await asyncio.sleep(0.05)
        finished.append(job)

    with pytest.raises(ValueError, match="broken"):
        await for_each(range(9), work, 2)
    await asyncio.sleep(0.06)
    assert (begun, finished) == ([0, 1], [])


async def test_a_stop_finishes_what_is_in_flight_and_takes_no_more() -> None:
    stop, done = asyncio.Event(), []

    async def work(job: int) -> None:
        stop.set()
        await asyncio.sleep(0)
        done.append(job)

    with pytest.raises(Interrupted):
        await for_each(range(9), work, 2, stop)
    assert done == [0, 1]
    with pytest.raises(Interrupted):
        await for_each([9], work, 2, stop)
    assert done == [0, 1]
