"""Engines shared by settings: opened once, closed by the last user, also after failures."""

from __future__ import annotations

import asyncio
import threading
import weakref
from dataclasses import dataclass, field

import pytest

from warmline.policies.sharing import SharedEngines


@dataclass(eq=False)
class Engine:
    """What is shared here: it knows its key and whether it is closed."""

    key: str
    closed: bool = False


@dataclass
class Workshop:
    """Opens and closes engines, as slowly as a test wants, and counts."""

    opened: list[Engine] = field(default_factory=list)
    failures: int = 0
    may_open: threading.Event = field(default_factory=threading.Event)
    may_close: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.may_open.set()
        self.may_close.set()
        self.engines = SharedEngines(self.open, self.close)

    def open(self, key: str) -> Engine:
        assert self.may_open.wait(30)
        if self.failures:
            self.failures -= 1
            raise OSError(f"no {key}")
        self.opened.append(Engine(key))
        return self.opened[-1]

    def close(self, engine: Engine) -> None:
        assert self.may_close.wait(30)
        assert not engine.closed
        engine.closed = True


async def until(condition: object) -> None:
    async with asyncio.timeout(30):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.005)


async def test_an_engine_is_opened_once_and_closed_by_its_last_user() -> None:
    shop = Workshop()
    shop.may_open.clear()
    waiting = [asyncio.create_task(shop.engines.acquire(key)) for key in "aaab"]
    await asyncio.sleep(0.05)
    shop.may_open.set()
    first, second, third, other = await asyncio.gather(*waiting)
    assert first is second is third is not other
    assert sorted(engine.key for engine in shop.opened) == ["a", "b"]
    assert set(shop.engines) == {"a", "b"}
    await shop.engines.release(first)
    await shop.engines.release(second)
    assert not first.closed
    await shop.engines.release(third)
    await shop.engines.release(other)
    assert [engine.closed for engine in shop.opened] == [True, True]
    assert len(shop.engines) == 0


async def test_after_a_failure_the_next_one_tries_again() -> None:
    shop = Workshop(failures=2)
    shop.may_open.clear()
    waiting = [asyncio.create_task(shop.engines.acquire("a")) for _ in range(3)]
    await asyncio.sleep(0.05)
    shop.may_open.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == [
        "Engine",
        "OSError",
        "OSError",
    ]
    await shop.engines.release(shop.opened[0])
    shop.failures = 1
    with pytest.raises(OSError, match="no a"):
        await shop.engines.acquire("a")
    assert len(shop.engines) == 0


async def test_a_cancelled_user_gives_the_engine_back_once_it_is_open() -> None:
    shop = Workshop()
    shop.may_open.clear()
    cancelled = asyncio.create_task(shop.engines.acquire("a"))
    await asyncio.sleep(0.05)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):  # at once: it does not wait for the opening
        await cancelled
    assert not shop.opened
    shop.may_open.set()
    await until(lambda: len(shop.engines) == 0)
    assert [engine.closed for engine in shop.opened] == [True]


async def test_a_cancelled_user_leaves_the_engine_to_the_others() -> None:
    shop = Workshop()
    shop.may_open.clear()
    cancelled, kept = (asyncio.create_task(shop.engines.acquire("a")) for _ in range(2))
    await asyncio.sleep(0.05)
    cancelled.cancel()
    await asyncio.wait([cancelled])
    shop.may_open.set()
    engine = await kept
    await asyncio.sleep(0.05)
    assert not engine.closed
    await shop.engines.release(engine)
    await until(lambda: engine.closed)
    assert len(shop.opened) == 1


async def test_who_comes_while_an_engine_is_closed_gets_a_new_one() -> None:
    shop = Workshop()
    engine = await shop.engines.acquire("a")
    shop.may_close.clear()
    closing = asyncio.create_task(shop.engines.release(engine))
    await asyncio.sleep(0.05)
    again = asyncio.create_task(shop.engines.acquire("a"))
    await asyncio.sleep(0.05)
    assert len(shop.opened) == 1  # not two of one kind in memory
    shop.may_close.set()
    await closing
    new = await again
    assert engine.closed
    assert not new.closed
    await shop.engines.release(new)
    assert len(shop.engines) == 0


async def test_a_dead_engine_is_replaced_for_new_users_and_closed_by_its_own() -> None:
    shop = Workshop()
    dead = await shop.engines.acquire("a")
    shop.engines.forget(dead)
    shop.engines.forget(dead)
    assert len(shop.engines) == 0
    new = await shop.engines.acquire("a")
    assert new is not dead
    await shop.engines.release(dead)
    assert dead.closed
    assert not new.closed
    await shop.engines.release(new)
    assert len(shop.engines) == 0


async def test_an_engine_that_cannot_be_closed_is_not_handed_out_again() -> None:
    shop = Workshop()
    engine = await shop.engines.acquire("a")
    engine.closed = True  # the workshop refuses to close it twice
    with pytest.raises(AssertionError):
        await shop.engines.release(engine)
    assert await shop.engines.acquire("a") is not engine


def test_users_in_several_event_loops_share_one_engine() -> None:
    shop = Workshop()
    both = threading.Barrier(2)

    async def use() -> Engine:
        engine = await shop.engines.acquire("a")
        await asyncio.to_thread(both.wait, 30)
        await shop.engines.release(engine)
        return engine

    found: list[Engine] = []
    threads = [threading.Thread(target=lambda: found.append(asyncio.run(use()))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found[0] is found[1] is shop.opened[0]
    assert len(shop.opened) == 1
    assert found[0].closed


async def test_a_closed_engine_is_not_kept() -> None:
    shop = Workshop()
    engine = await shop.engines.acquire("a")
    await shop.engines.release(engine)
    watched = weakref.ref(engine)
    shop.opened.clear()
    del engine
    await until(lambda: watched() is None)
