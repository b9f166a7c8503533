"""The adaptive limiter: bound, order, cancellation, and how the limit follows the server."""

import asyncio
import gc
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warmline.policies.concurrency import AdaptiveLimiter, limiter_for, open_conversations
from warmline.policies.llama.policy import EmbeddedPolicy
from warmline.policies.openai.policy import OpenAIPolicy
from warmline.policies.scripted import ScriptedPolicy
from warmline.policies.wrappers.limit import Limit


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def overload(limiter: AdaptiveLimiter, retry_after: float | None = None) -> None:
    async with limiter.slot() as slot:
        slot.overloaded(retry_after)


async def succeed(limiter: AdaptiveLimiter, times: int = 1) -> None:
    for _ in range(times):
        async with limiter.slot() as slot:
            slot.succeeded()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_ceiling_is_never_passed_and_is_reached() -> None:
    limiter = AdaptiveLimiter(3)
    most = 0

    async def work() -> None:
        nonlocal most
        async with limiter.slot():
            most = max(most, limiter.in_flight)
            await asyncio.sleep(0)

    await asyncio.gather(*(work() for _ in range(50)))
    assert (most, limiter.in_flight, limiter.waiting) == (3, 0, 0)


async def test_first_come_first_served() -> None:
    limiter = AdaptiveLimiter(1)
    served: list[int] = []

    async def work(n: int) -> None:
        async with limiter.slot():
            served.append(n)
            await asyncio.sleep(0)

    await asyncio.gather(*(work(n) for n in range(20)))
    assert served == list(range(20))


async def test_a_latecomer_does_not_take_the_slot_just_given_to_another() -> None:
    limiter = AdaptiveLimiter(1)
    served: list[str] = []

    async def work(name: str) -> None:
        async with limiter.slot():
            served.append(name)

    entered = limiter.slot()
    await entered.__aenter__()
    waiter = asyncio.create_task(work("waiter"))
    await settle()
    await entered.__aexit__(None, None, None)  # given to the waiter, which has not run yet
    await work("latecomer")
    await waiter
    assert served == ["waiter", "latecomer"]


async def test_successes_of_requests_from_before_the_cut_do_not_raise_the_limit() -> None:
    clock = Clock()
    limiter = AdaptiveLimiter(4, clock=clock)
    async with limiter.slot() as first, limiter.slot() as second, limiter.slot() as third:
        clock.now += 1
        first.overloaded()
        second.succeeded()
        third.succeeded()
    assert limiter.limit == 2
    await succeed(limiter, 2)
    assert limiter.limit == 3


async def test_halves_on_overload_and_once_only_in_a_window() -> None:
    clock = Clock()
    limiter = AdaptiveLimiter(64, window=1.0, clock=clock)
    await overload(limiter)
    assert limiter.limit == 32
    clock.now += 0.5
    await overload(limiter)
    assert limiter.limit == 32, "still inside the window"
    clock.now += 0.6
    await overload(limiter)
    assert limiter.limit == 16


async def test_a_burst_sent_before_the_cut_cuts_once_however_late_it_fails() -> None:
    clock = Clock()
    limiter = AdaptiveLimiter(8, window=1.0, clock=clock)

    async def fail(after: float) -> None:
        async with limiter.slot() as slot:
            await asyncio.sleep(0)
            clock.now += after
            slot.overloaded()

    await asyncio.gather(*(fail(2.0) for _ in range(8)))
    assert limiter.limit == 4


async def test_never_below_one() -> None:
    clock = Clock()
    limiter = AdaptiveLimiter(4, clock=clock)
    for _ in range(10):
        await overload(limiter)
        clock.now += 10
    assert limiter.limit == 1
    await asyncio.wait_for(succeed(limiter), 1)


async def test_grows_by_one_after_a_limit_of_successes_up_to_the_ceiling() -> None:
    clock = Clock()
    limiter = AdaptiveLimiter(4, clock=clock)
    await overload(limiter)
    assert limiter.limit == 2
    await succeed(limiter, 1)
    assert limiter.limit == 2
    await succeed(limiter, 1)
    assert limiter.limit == 3
    await succeed(limiter, 3)
    assert limiter.limit == 4
    await succeed(limiter, 50)
    assert limiter.limit == 4


async def test_retry_after_keeps_everybody_waiting() -> None:
    limiter = AdaptiveLimiter(8)
    await overload(limiter, retry_after=0.05)
    loop = asyncio.get_running_loop()
    started = loop.time()
    await asyncio.wait_for(asyncio.gather(*(succeed(limiter) for _ in range(20))), 2)
    assert loop.time() - started >= 0.045


async def test_a_shorter_retry_after_does_not_shorten_the_pause() -> None:
    limiter = AdaptiveLimiter(8)

    async def both() -> None:
        async with limiter.slot() as first, limiter.slot() as second:
            first.overloaded(0.06)
            second.overloaded(0.001)

    await both()
    loop = asyncio.get_running_loop()
    started = loop.time()
    await asyncio.wait_for(succeed(limiter), 2)
    assert loop.time() - started >= 0.05


async def test_a_cancelled_waiter_loses_no_slot() -> None:
    limiter = AdaptiveLimiter(1)
    release = asyncio.Event()

    async def hold() -> None:
        async with limiter.slot():
            await release.wait()

    holder = asyncio.create_task(hold())
    await settle()
    queue = [asyncio.create_task(succeed(limiter)) for _ in range(3)]
    await settle()
    assert limiter.waiting == 3
    queue[0].cancel()
    release.set()
    await asyncio.wait_for(asyncio.gather(holder, *queue[1:]), 1)
    assert (limiter.in_flight, limiter.waiting) == (0, 0)


async def test_cancelled_in_the_moment_of_being_served_passes_the_slot_on() -> None:
    limiter = AdaptiveLimiter(1)
    entered = limiter.slot()
    await entered.__aenter__()
    first = asyncio.create_task(succeed(limiter))
    second = asyncio.create_task(succeed(limiter))
    await settle()
    await entered.__aexit__(None, None, None)  # gives the slot to `first` ...
    first.cancel()  # ... which is cancelled before it runs
    await asyncio.wait_for(second, 1)
    assert (limiter.in_flight, limiter.waiting) == (0, 0)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    ceiling=st.integers(1, 6),
    tasks=st.integers(1, 30),
    cancelled=st.floats(0, 1),
)
def test_whatever_happens_nothing_is_lost(
    seed: int, ceiling: int, tasks: int, cancelled: float
) -> None:
    """Random successes, complaints, errors and cancellations: bound kept, everybody served."""
    dice = random.Random(seed)

    async def scenario() -> None:
        limiter = AdaptiveLimiter(ceiling, window=0.0)

        async def work() -> None:
            async with limiter.slot() as slot:
                assert limiter.in_flight <= ceiling
                for _ in range(dice.randrange(4)):
                    await asyncio.sleep(0)
                match dice.randrange(4):
                    case 0:
                        slot.succeeded()
                    case 1:
                        slot.overloaded()
                    case 2:
                        slot.overloaded(0.0005)
                    case 3:
                        raise LookupError

        async def cancel(task: asyncio.Task[None]) -> None:
            for _ in range(dice.randrange(8)):
                await asyncio.sleep(0)
            task.cancel()

        running = [asyncio.create_task(work()) for _ in range(tasks)]
        cancels = [cancel(task) for task in running if dice.random() < cancelled]
        ended = await asyncio.wait_for(
            asyncio.gather(*running, *cancels, return_exceptions=True), 5
        )
        unexpected = [e for e in ended if isinstance(e, AssertionError)]
        assert not unexpected
        assert (limiter.in_flight, limiter.waiting) == (0, 0)
        assert 1 <= limiter.limit <= ceiling
        await asyncio.wait_for(succeed(limiter), 1)

    asyncio.run(scenario())


async def test_one_endpoint_one_limiter_and_the_lowest_ceiling_holds() -> None:
    mine = limiter_for("http://a/v1", 8)
    assert limiter_for("http://a/v1", 4) is mine
    assert limiter_for("http://a/v1", 16) is mine
    assert mine.ceiling == mine.limit == 4
    assert limiter_for("http://b/v1", 16) is not mine


async def test_a_forgotten_limiter_goes_away() -> None:
    limiter_for("http://gone/v1", 2)
    gc.collect()
    assert limiter_for("http://gone/v1", 9).ceiling == 9


def test_each_event_loop_has_its_own() -> None:
    async def get() -> AdaptiveLimiter:
        return limiter_for("http://a/v1", 4)

    assert asyncio.run(get()) is not asyncio.run(get())


@pytest.mark.parametrize("ceiling", [0, -1])
def test_no_room_at_all_is_refused(ceiling: int) -> None:
    with pytest.raises(ValueError, match="at least one"):
        AdaptiveLimiter(ceiling)


# Open conversations


class Slotted(ScriptedPolicy):
    """Computes so many requests together."""

    def __init__(self, slots: int | None, held: int | None = None) -> None:
        super().__init__(["Yes."])
        self.requests_at_once, self.conversations_held = slots, held


class Person(Slotted):
    is_person = True


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ([ScriptedPolicy(["Yes."])], 8),
        ([Slotted(None)], 8),
        ([Slotted(1)], 2),
        ([Slotted(8)], 10),
        ([Slotted(8), Slotted(32), ScriptedPolicy(["Yes."])], 40),
        ([Slotted(32), Person(None)], 1),
        ([Limit(Slotted(32), concurrency=4)], 5),
        ([Limit(Slotted(32), requests_per_minute=100)], 40),
        ([Limit(Slotted(256, held=150), requests_per_minute=100)], 150),
        ([Slotted(8, held=150)], 10),
        ([Slotted(8, held=0)], 1),
        ([OpenAIPolicy("m", base_url="http://a/v1")], 8),
        ([OpenAIPolicy("m", base_url=["http://a/v1", "http://b/v1", "http://c/v1"])], 24),
        (
            [
                Limit(
                    OpenAIPolicy("m", base_url=["http://a/v1", "http://b/v1"]), tokens_per_minute=9
                )
            ],
            16,
        ),
        ([Limit(OpenAIPolicy("m", base_url=["http://a/v1", "http://b/v1"]), concurrency=4)], 5),
        ([EmbeddedPolicy(slots=6)], 8),
        ([EmbeddedPolicy(slots=6, deterministic=True)], 2),
    ],
)
def test_open_conversations_follow_what_the_engines_compute_at_once(
    policies: list[Any], expected: int
) -> None:
    assert open_conversations(policies) == expected
