"""How many requests an endpoint gets at once: `AdaptiveLimiter`, and one shared per endpoint; and
how many conversations are worth having open (`open_conversations`).

The limit follows the server as TCP follows a network (additive increase, multiplicative decrease;
Chiu and Jain, 1989): it is halved when the server says that it is overloaded, and grows by one
after a whole limit's worth of successes. Waiting is first come, first served.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakKeyDictionary, WeakValueDictionary

USUAL_OPEN = 8
"""Conversations open where no engine says what it computes at once, as servers do not."""

OPEN_PER_SLOT = 1.25
"""Conversations open for each request that an engine computes at once. A conversation has one
request at a time, and none while its answer is read and the next prompt is made; so with as many
conversations as slots, some slots always stand empty."""


def requests_at_once(policy: Any) -> int | None:
    """How many requests a policy computes together, by its `requests_at_once`; None where it does
    not say, or does not know before it is open."""
    found: int | None = getattr(policy, "requests_at_once", None)
    return found


def conversations_held(policy: Any) -> int | None:
    """How many conversations' prompts a policy's prefix cache holds, by its `conversations_held`;
    None where it does not say."""
    found: int | None = getattr(policy, "conversations_held", None)
    return found


def endpoint_count(policy: Any) -> int:
    """How many servers a policy has its answers from, by its `endpoint_count`; 1 where it does not
    say."""
    return getattr(policy, "endpoint_count", None) or 1


def open_conversations(policies: Iterable[Any]) -> int:
    """How many conversations to have open at once where nobody says: enough to keep the largest
    engine busy, but no more than its prefix cache holds, `USUAL_OPEN` for each server of a pool, and one at a time where a person takes part.

    Args:
        policies: of all seats, open.
    """
    policies = list(policies)
    if any(getattr(policy, "is_person", False) for policy in policies):
        return 1
    counts = []
    for policy in policies:
        if (slots := requests_at_once(policy)) is not None:
            held = conversations_held(policy)
            wanted = math.ceil(slots * OPEN_PER_SLOT)
            counts.append(wanted if held is None else max(1, min(wanted, held)))
        elif (servers := endpoint_count(policy)) > 1:
            counts.append(USUAL_OPEN * servers)
    return max(counts, default=USUAL_OPEN)


class Slot:
    """The right to have one request in flight. Report to it how the server handled the request."""

    __slots__ = ("_limiter", "started")

    def __init__(self, limiter: AdaptiveLimiter, started: float) -> None:
        self._limiter, self.started = limiter, started

    def succeeded(self) -> None:
        """The server answered in time."""
        self._limiter._succeeded(self.started)

    def overloaded(self, retry_after: float | None = None) -> None:
        """The server reported that it is overloaded, or did not answer in time.

        Args:
            retry_after: seconds until the server accepts requests again; nobody who waits for a
                slot gets one earlier.
        """
        self._limiter._overloaded(self.started, retry_after)


class AdaptiveLimiter:
    """Bounds the requests in flight. Belongs to the event loop in which it is first used.

    ```python
    async with limiter.slot() as slot:
        answer = await send(request)
        slot.succeeded()
    ```

    Args:
        ceiling: maximum number of requests in flight, at any time; also the initial limit.
        window: seconds after a reduction in which further reports do not reduce it again. Reports
            about requests that were sent before the reduction never do: they concern the old limit.
        clock: seconds, monotonic.
    """

    def __init__(
        self, ceiling: int, *, window: float = 1.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        if ceiling < 1:
            raise ValueError(f"a limiter needs room for at least one request, not {ceiling}")
        self._ceiling = ceiling
        self._limit = ceiling
        self._window = window
        self._clock = clock
        self._in_flight = 0
        self._successes = 0
        self._last_cut = float("-inf")
        self._resume_at = float("-inf")
        self._alarm: asyncio.TimerHandle | None = None
        self._waiting: OrderedDict[asyncio.Future[None], None] = OrderedDict()

    @property
    def ceiling(self) -> int:
        """The bound that is never passed."""
        return self._ceiling

    @property
    def limit(self) -> int:
        """The bound of this moment, from 1 to `ceiling`."""
        return self._limit

    @property
    def in_flight(self) -> int:
        """Slots given out. Above `limit` only for a moment after a cut, never above `ceiling`."""
        return self._in_flight

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    @property
    def load(self) -> float:
        """Requests in flight and waiting, weighed by how far the limit was lowered: 4 under a limit
        of 2 out of 8 weigh as 16. While nothing may be sent, a whole ceiling is added."""
        asked = self._in_flight + len(self._waiting) + (self._ceiling if self._alarm else 0)
        return asked * self._ceiling / self._limit

    def lower_ceiling(self, ceiling: int) -> None:
        """Never allow more than `ceiling` from now on; a higher value changes nothing."""
        if ceiling < 1:
            raise ValueError(f"a limiter needs room for at least one request, not {ceiling}")
        self._ceiling = min(self._ceiling, ceiling)
        self._limit = min(self._limit, ceiling)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[Slot]:
        """Wait for a turn, and hold it for the length of the block. Cancelling loses no slot."""
        await self._enter()
        try:
            yield Slot(self, self._clock())
        finally:
            self._leave()

    async def _enter(self) -> None:
        if self._room():  # whenever there is room, the queue is empty: see `_wake`
            self._in_flight += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = None
        try:
            await turn
        except asyncio.CancelledError:
            self._waiting.pop(turn, None)
            if not turn.cancelled():  # given a slot and cancelled at once: pass it on
                self._leave()
            raise

    def _leave(self) -> None:
        self._in_flight -= 1
        self._wake()

    def _room(self) -> bool:
        return self._in_flight < self._limit and self._alarm is None

    def _wake(self) -> None:
        """Serve the queue. Called wherever room may have come up, so that nobody overtakes it."""
        while self._waiting and self._room():
            turn, _ = self._waiting.popitem(last=False)
            if not turn.cancelled():
                self._in_flight += 1
                turn.set_result(None)

    def _succeeded(self, started: float) -> None:
        if started < self._last_cut:
            return
        self._successes += 1
        if self._successes >= self._limit:
            self._successes = 0
            self._limit = min(self._limit + 1, self._ceiling)
            self._wake()

    def _overloaded(self, started: float, retry_after: float | None) -> None:
        now = self._clock()
        if started >= self._last_cut and now - self._last_cut >= self._window:
            self._limit = max(1, self._limit // 2)
            self._successes = 0
            self._last_cut = now
        if retry_after is not None and now + retry_after > max(now, self._resume_at):
            self._pause(now, retry_after)

    def _pause(self, now: float, seconds: float) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._resume_at = now + seconds
        self._alarm = asyncio.get_running_loop().call_later(seconds, self._resume)

    def _resume(self) -> None:
        self._alarm = None
        self._wake()


_limiters: WeakKeyDictionary[
    asyncio.AbstractEventLoop, WeakValueDictionary[str, AdaptiveLimiter]
] = WeakKeyDictionary()


def limiter_for(endpoint: str, ceiling: int) -> AdaptiveLimiter:
    """The limiter that all policies on `endpoint` share in the running event loop.

    Where several name a ceiling, the lowest holds for all. It exists as long as somebody holds it.
    """
    shared = _limiters.setdefault(asyncio.get_running_loop(), WeakValueDictionary())
    limiter = shared.get(endpoint)
    if limiter is None:
        limiter = shared[endpoint] = AdaptiveLimiter(ceiling)
    limiter.lower_ceiling(ceiling)
    return limiter
