"""`limit`: never faster than allowed, not much slower, in order, and nobody loses a turn."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warmline.core.errors import BadRequest, ConfigError, EngineTimeout, RateLimited
from warmline.policies.base import Message, Reply, Request, Sampling, Usage
from warmline.policies.wrappers import Limit
from warmline.policies.wrappers.base import estimated_completion, estimated_prompt

from .wrapping import ASK, Engine, FakeTime, Scoring

pytestmark = pytest.mark.timeout(30)


def request(number: int, prompt: int = 1, answer: int = 1) -> Request:
    """A request of about `prompt` tokens for at most `answer`."""
    text = "x" * (4 * max(prompt - 4, 0))
    return Request(messages=(Message("user", text),), seed=number,
                   sampling=Sampling(max_tokens=answer))  # fmt: skip


class Timed(Engine):
    """Notes when each request arrives."""

    def __init__(self, time: FakeTime, usage: Usage | None = None) -> None:
        super().__init__(usage=usage)
        self.time = time
        self.at: list[float] = []

    async def respond(self, request: Request) -> Reply:
        self.at.append(self.time.now)
        return await super().respond(request)


def limited(inner: Any, clock: FakeTime, **options: Any) -> Limit:
    return Limit(inner, clock=clock.clock, sleep=clock.sleep, **options)


async def test_requests_per_minute() -> None:
    clock = FakeTime()
    engine = Timed(clock)
    policy = limited(engine, clock, requests_per_minute=120)
    await asyncio.gather(*(policy.respond(request(n)) for n in range(21)))
    # 2 a second; 2 saved up at the start
    assert engine.at == pytest.approx([1000.0] * 2 + [1000 + 0.5 * n for n in range(1, 20)])
    assert [r.seed for r in engine.asked] == list(range(21)), "first come, first served"


@settings(max_examples=100, deadline=None)
@given(
    costs=st.lists(st.integers(5, 400), min_size=2, max_size=25),
    rpm=st.sampled_from([30, 600, 6000]),
    tpm=st.sampled_from([600, 6000, 60000]),
    burst=st.sampled_from([0.1, 1.0, 10.0]),
    spans=st.lists(st.floats(0.01, 100), min_size=1, max_size=4),
)
def test_no_window_holds_more_than_it_may(
    costs: list[int], rpm: int, tpm: int, burst: float, spans: list[float]
) -> None:
    clock = FakeTime()
    engine = Timed(clock)

    async def run() -> None:
        policy = limited(engine, clock, requests_per_minute=rpm, tokens_per_minute=tpm, burst=burst)
        await asyncio.gather(
            *(policy.respond(request(n, cost - 1)) for n, cost in enumerate(costs))
        )

    asyncio.run(run())
    largest = max(costs)
    for span in spans:
        for start in engine.at:
            inside = [n for n, at in enumerate(engine.at) if start <= at <= start + span]
            requests = max(1, rpm / 60 * burst) + rpm / 60 * span
            tokens = max(1, tpm / 60 * burst) + tpm / 60 * span + largest
            assert len(inside) <= requests + 1e-6
            assert sum(costs[n] for n in inside) <= tokens + 1e-6
    # and nobody waits longer than the two rates ask of him and the one before him
    for n in range(1, len(costs)):
        longest = max(60 / rpm, max(costs[n - 1], costs[n]) * 60 / tpm)
        assert engine.at[n] - engine.at[n - 1] <= longest + 1e-3


async def test_a_request_larger_than_the_bucket_passes_and_is_paid_off() -> None:
    clock = FakeTime()
    engine = Timed(clock)
    policy = limited(engine, clock, tokens_per_minute=600)  # holds 10 at most, 10 a second
    for number in range(3):
        await policy.respond(request(number, 99))
    assert engine.at == pytest.approx([1000, 1010, 1020], abs=1e-3)


async def test_estimates_are_put_right_by_the_usage() -> None:
    assert estimated_prompt(request(0, 99).messages) == 99
    clock = FakeTime()
    for used, interval in ((Usage(10, 0, 10), 2.0), (Usage(300, 0, 100), 40.0), (None, 10.0)):
        engine = Timed(clock, usage=used)
        policy = limited(engine, clock, tokens_per_minute=600)
        for number in range(4):
            await policy.respond(request(number, 99))
        pauses = [b - a for a, b in zip(engine.at, engine.at[1:], strict=False)]
        assert pauses == pytest.approx([interval] * 3, abs=1e-2)


def test_an_answer_without_bound_is_guessed() -> None:
    assert estimated_completion(dataclasses.replace(ASK, sampling=Sampling())) > 0
    assert estimated_completion(ASK) == 40


async def test_concurrency_in_order_and_latency_with_the_waiting() -> None:
    engine = Engine(hold=asyncio.Event())
    assert engine._hold is not None
    policy = Limit(engine, concurrency=3)
    tasks = [asyncio.create_task(policy.respond(request(n))) for n in range(12)]
    await asyncio.sleep(0.05)
    assert engine.in_flight == 3
    engine._hold.set()
    replies = await asyncio.gather(*tasks)
    assert engine.most_in_flight == 3
    assert [r.seed for r in engine.asked] == list(range(12))
    assert replies[-1].latency > 0.04
    assert replies[0].policy == "engine"


async def test_the_cancelled_take_nothing_from_the_others() -> None:
    clock = FakeTime()
    engine = Timed(clock)
    policy = limited(engine, clock, requests_per_minute=60, concurrency=50)
    stuck = asyncio.Event()

    async def sleep(seconds: float) -> None:  # the head of the line waits until it is cancelled
        stuck.set()
        await asyncio.Event().wait()

    await policy.respond(request(0))
    policy._sleep = sleep
    first, second = [asyncio.create_task(policy.respond(request(n))) for n in (1, 2)]
    await stuck.wait()
    policy._sleep = clock.sleep
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    assert [r.seed for r in engine.asked] == [0, 2]
    assert engine.at[-1] == pytest.approx(1001.0), "as if the first had never come"
    assert policy._of_this_loop()[0].in_flight == 0


async def test_cancelling_many_at_random_moments_leaves_all_slots_free() -> None:
    engine = Engine()
    policy = Limit(engine, concurrency=2, requests_per_minute=600_000)
    tasks = [asyncio.create_task(policy.respond(request(n))) for n in range(60)]
    for number, task in enumerate(tasks):
        if number % 3:
            task.cancel()
        await asyncio.sleep(0)
    await asyncio.gather(*tasks, return_exceptions=True)
    assert policy._of_this_loop()[0].in_flight == 0
    assert (await asyncio.wait_for(policy.respond(request(99)), 5)).text == "seed 99"


@pytest.mark.parametrize("failure", [RateLimited("429"), EngineTimeout("slow")])
async def test_adaptive_halves_on_overload_and_wins_back(failure: Exception) -> None:
    failures = [failure]
    engine = Engine(lambda r: failures.pop() if failures else "fine")
    policy = Limit(engine, concurrency=8, adaptive=True)
    with pytest.raises(type(failure)):
        await policy.respond(request(0))
    assert policy.in_flight_limit == 4
    for number in range(4 + 5 + 6 + 7):
        await policy.respond(request(number))
    assert policy.in_flight_limit == 8


async def test_what_says_nothing_of_load_cuts_nothing() -> None:
    adaptive = Limit(Engine(lambda r: BadRequest("no")), concurrency=8, adaptive=True)
    static = Limit(Engine(lambda r: RateLimited("429")), concurrency=8)
    for policy in (adaptive, static):
        with pytest.raises((BadRequest, RateLimited)):
            await policy.respond(request(0))
        assert policy.in_flight_limit == 8


async def test_scoring_takes_its_turn() -> None:
    clock = FakeTime()
    policy = limited(Scoring(), clock, requests_per_minute=60)
    for _ in range(3):
        await policy.score(ASK, "a b")
    assert clock.now == pytest.approx(1002.0)


def test_one_limit_serves_one_event_loop_after_the_other_at_one_rate() -> None:
    clock = FakeTime()
    policy = limited(Engine(), clock, requests_per_minute=60, concurrency=1)

    async def ask() -> None:
        await asyncio.gather(*(policy.respond(request(n)) for n in range(3)))

    asyncio.run(ask())
    asyncio.run(ask())
    assert clock.now == pytest.approx(1005.0)


async def test_with_the_real_clock() -> None:
    policy = Limit(Engine(), requests_per_minute=6000, burst=0.01)
    started = time.perf_counter()
    await asyncio.gather(*(policy.respond(request(n)) for n in range(21)))
    assert 0.19 <= time.perf_counter() - started < 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "nothing to limit"),
        ({"concurrency": 0}, "concurrency must be above 0, not 0"),
        ({"requests_per_minute": -1, "burst": 0}, "(?s)requests_per_minute must be.*burst must"),
        ({"requests_per_minute": 5, "adaptive": True}, "adaptive needs concurrency"),
    ],
)
def test_impossible_limits(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Limit(Engine(), **options)
