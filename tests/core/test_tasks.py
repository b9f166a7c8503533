"""Many questions at once: how many, in which order, and what a failure or a stop does."""

from __future__ import annotations

import asyncio
import signal
import threading
import time

import pytest

from warmline.core import tasks
from warmline.core.errors import Interrupted
from warmline.core.tasks import (
    READ_IN_PLACE,
    GivingWay,
    aside,
    for_each,
    run_interruptible,
    run_sync,
)


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


def interrupt_when(begun: threading.Event) -> None:
    """Ctrl-C in the main thread once the work has begun, as a notebook's kernel sends it."""

    def wait() -> None:
        begun.wait(10)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()


async def test_ctrl_c_in_a_notebook_cancels_the_work_in_its_thread() -> None:
    begun, ended = threading.Event(), []

    async def work() -> None:
        try:
            begun.set()
            await asyncio.sleep(60)
        finally:
            ended.append(threading.current_thread().name)

    interrupt_when(begun)
    with pytest.raises(KeyboardInterrupt):
        run_sync(work())
    assert ended == ["warmline"]


async def test_ctrl_c_that_comes_as_the_thread_starts_is_not_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        started(thread)
        if thread.name == "warmline":
            time.sleep(0.2)  # the work has begun, and nobody waits for it yet
            signal.raise_signal(signal.SIGINT)

    async def work(stop: asyncio.Event) -> None:
        await stop.wait()
        raise Interrupted("stopped")

    monkeypatch.setattr(threading.Thread, "start", start)
    stopped = run_interruptible(work, lambda _: None)
    assert stopped is not None
    assert stopped.exit_code == 130
    with pytest.raises(KeyboardInterrupt):
        run_sync(asyncio.sleep(60))


async def test_ctrl_c_in_a_notebook_finishes_what_is_open() -> None:
    begun, done, said = threading.Event(), [], []

    async def work(stop: asyncio.Event) -> None:
        begun.set()
        await stop.wait()
        done.append("finished")
        raise Interrupted("stopped")

    interrupt_when(begun)
    stopped = run_interruptible(work, said.append)
    assert stopped is not None
    assert stopped.exit_code == 130
    assert done == ["finished"]
    assert said == ["finishing what is open; Ctrl-C again drops it"]


def raises(*numbers: int) -> Interrupted | None:
    """How work is interrupted that sends itself these signals and never looks at the event."""

    async def work(stop: asyncio.Event) -> None:
        for number in numbers:
            signal.raise_signal(number)
            await asyncio.sleep(0.01)
        await asyncio.sleep(60)

    return run_interruptible(work, lambda _: None, grace=0.05)


@pytest.mark.parametrize(
    ("numbers", "code"),
    [
        ([signal.SIGTERM], 143),
        ([signal.SIGHUP], 129),
        ([signal.SIGTERM, signal.SIGHUP, signal.SIGTERM], 143),
        ([signal.SIGINT, signal.SIGINT], 130),
        ([signal.SIGINT, signal.SIGTERM], 130),
    ],
)
def test_open_work_is_dropped_when_its_time_is_over(numbers: list[int], code: int) -> None:
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    stopped = raises(*numbers)
    assert stopped is not None
    assert stopped.exit_code == code
    assert "the same command again" in str(stopped)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_a_handler_of_the_caller_and_nohup_are_left_alone() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: heard.append(number))
    ignoring = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:

        async def work(stop: asyncio.Event) -> None:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGHUP)
            await asyncio.sleep(0.01)
            assert not stop.is_set()

        assert run_interruptible(work, lambda _: None) is None
        assert heard == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGHUP, ignoring)


async def test_long_texts_are_read_in_a_thread_and_short_ones_at_once() -> None:
    here = threading.get_ident()
    assert await aside(READ_IN_PLACE, threading.get_ident) == here
    assert await aside(READ_IN_PLACE + 1, threading.get_ident) != here
    assert await aside(READ_IN_PLACE + 1, "{}{end}".format, 1, end=2) == "12"


@pytest.mark.parametrize(("held", "turns"), [(-1.0, 20), (60.0, 0)])
async def test_work_that_never_waits_gives_way_once_it_took_long(
    held: float, turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "HELD", held)
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            await asyncio.sleep(0)
            others += 1

    beside = asyncio.create_task(other())
    await asyncio.sleep(0)
    give_way = GivingWay()
    for _ in range(20):
        await give_way()
    assert others == turns
    beside.cancel()
