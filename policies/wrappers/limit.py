"""`limit`: how many requests and tokens a minute, and how many at once."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from ...core.errors import ConfigError, EngineTimeout, RateLimited
from ..asking import ask_policy
from ..base import Policy, Reply, Request, TokenLogprob
from ..concurrency import AdaptiveLimiter, Slot
from ..text.aloud import speaks_aloud
from .base import Wrapper, estimated_completion, estimated_prompt, scoring

_UNBOUNDED = 1_000_000
"""Requests in flight where no bound is asked for."""


class Bucket:
    """A token bucket: fills at `rate` a second up to `capacity`, and may be overdrawn.

    Something may be taken when the bucket holds it, or is full where it can never hold that much.
    So in any `t` seconds at most `capacity + rate * t` is taken, plus what one request exceeds the
    capacity by, plus what was estimated too low.

    Args:
        rate: units a second.
        capacity: most units saved up.
        clock: seconds, monotonic.
    """

    def __init__(self, rate: float, capacity: float, clock: Callable[[], float]) -> None:
        self.rate, self.capacity, self._clock = rate, capacity, clock
        self._level, self._at = capacity, clock()
        self._lock = threading.Lock()  # event loops in several threads may share a policy

    def wait(self, cost: float) -> float:
        """Seconds until `cost` may be taken."""
        with self._lock:
            missing = min(cost, self.capacity) - self._filled()
        # the smallest wait ends the rounding of a clock that stands still between two looks
        return max(missing / self.rate, 1e-6) if missing > 1e-9 else 0.0

    def take(self, cost: float) -> None:
        """Take `cost`; a negative one puts back an excess that was taken."""
        with self._lock:
            self._level = min(self.capacity, self._filled() - cost)

    def _filled(self) -> float:
        now = self._clock()
        self._level = min(self.capacity, self._level + (now - self._at) * self.rate)
        self._at = now
        return self._level


class Limit(Wrapper):
    """Lets requests through at a bounded rate, first come, first served.

    Args:
        policy: the inner policy.
        requests_per_minute: calls of the inner policy. What it sends besides (retries) is its own.
        tokens_per_minute: prompt and completion. Estimated before the call (four bytes a token, and
            `max_tokens` for the answer), corrected by the usage afterwards if there is one.
        concurrency: maximum number of calls in flight in one event loop.
        adaptive: halve the calls in flight when the inner policy reports `RateLimited` or
            `EngineTimeout`, and raise the limit again one by one; `concurrency` is then the
            ceiling.
        burst: seconds' worth of the rates that may be saved up while nothing is asked; at least one
            request.
        clock: seconds, monotonic.
        sleep: waits that many seconds.

    Raises:
        ConfigError: nothing to limit, or a bound that is not above 0.

    Replies are passed on as they are, except that `latency` includes the waiting.
    """

    kind = "limit"

    def __init__(
        self,
        policy: Policy,
        *,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        concurrency: int | None = None,
        adaptive: bool = False,
        burst: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        super().__init__(policy)
        _refuse_bad(requests_per_minute, tokens_per_minute, concurrency, adaptive, burst)
        self._requests = _bucket(requests_per_minute, burst, clock)
        self._tokens = _bucket(tokens_per_minute, burst, clock)
        self._concurrency, self._adaptive = concurrency or _UNBOUNDED, adaptive
        self._clock, self._sleep = clock, sleep
        self._per_loop: WeakKeyDictionary[
            AbstractEventLoop, tuple[AdaptiveLimiter, asyncio.Lock]
        ] = WeakKeyDictionary()

    async def respond(self, request: Request) -> Reply:
        started = self._clock()
        cost = estimated_prompt(request.messages) + estimated_completion(request)
        async with self._turn(cost):
            reply = await ask_policy(self.inner, request)
            if self._tokens is not None and reply.usage is not None:
                self._tokens.take(reply.usage.total_tokens - cost)
        return dataclasses.replace(reply, latency=self._clock() - started)

    @property
    def speaks_aloud(self) -> bool:
        """As the inner policy: it is asked once, and its answer passed on."""
        return speaks_aloud(self.inner)

    async def _score(self, request: Request, continuation: str) -> tuple[TokenLogprob, ...]:
        async with self._turn(estimated_prompt(request.messages)):
            return await scoring(self.inner).score(request, continuation)

    @property
    def requests_at_once(self) -> int | None:
        """As the inner policy, but never above the limit."""
        inner = super().requests_at_once
        if self._concurrency == _UNBOUNDED:
            return inner
        return self._concurrency if inner is None else min(inner, self._concurrency)

    @property
    def in_flight_limit(self) -> int:
        """Maximum number of calls in flight at this moment, in the running event loop."""
        return self._of_this_loop()[0].limit

    def _of_this_loop(self) -> tuple[AdaptiveLimiter, asyncio.Lock]:
        loop = asyncio.get_running_loop()
        if loop not in self._per_loop:
            limiter = AdaptiveLimiter(self._concurrency, clock=self._clock)
            self._per_loop[loop] = (limiter, asyncio.Lock())
        return self._per_loop[loop]

    @asynccontextmanager
    async def _turn(self, cost: float) -> AsyncIterator[None]:
        """Wait for a slot, then for the rates; both queues are first come, first served."""
        limiter, line = self._of_this_loop()
        async with limiter.slot() as slot:
            async with line:
                await self._afford(cost)
            slot.started = self._clock()  # the limiter judges from when it was really sent
            try:
                yield
            except (RateLimited, EngineTimeout):
                self._report(slot, well=False)
                raise
            self._report(slot, well=True)

    async def _afford(self, cost: float) -> None:
        """Wait until both buckets allow it, then take from both: nothing is taken by those who are
        cancelled while they wait."""
        costs = [(self._requests, 1.0), (self._tokens, cost)]
        buckets = [(bucket, amount) for bucket, amount in costs if bucket is not None]
        while wait := max((bucket.wait(amount) for bucket, amount in buckets), default=0.0):
            await self._sleep(wait)
        for bucket, amount in buckets:
            bucket.take(amount)

    def _report(self, slot: Slot, *, well: bool) -> None:
        if self._adaptive and well:
            slot.succeeded()
        elif self._adaptive:
            slot.overloaded()


def _bucket(per_minute: float | None, burst: float, clock: Callable[[], float]) -> Bucket | None:
    if per_minute is None:
        return None
    rate = per_minute / 60
    return Bucket(rate, max(1.0, rate * burst), clock)


def _refuse_bad(
    requests: float | None,
    tokens: float | None,
    concurrency: int | None,
    adaptive: bool,
    burst: float,
) -> None:
    problems = [
        f"{name} must be above 0, not {value!r}"
        for name, value in (
            ("requests_per_minute", requests),
            ("tokens_per_minute", tokens),
            ("concurrency", concurrency),
            ("burst", burst),
        )
        if value is not None and not value > 0
    ]
    if adaptive and concurrency is None:
        problems.append("adaptive needs concurrency, the ceiling to start from")
    if requests is None and tokens is None and concurrency is None:
        problems.append("nothing to limit: set requests_per_minute, tokens_per_minute, concurrency")
    if problems:
        raise ConfigError("wrapper 'limit' cannot be set up", problems=problems)
