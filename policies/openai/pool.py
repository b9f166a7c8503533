"""One OpenAI-compatible server, or several that serve the same model: retries, choice and health.

`ClientPool.chat` sends one chat completion until it is answered, or raises a `PolicyError`. Each
server is a `ChatClient` with its own limiter, connections and learned dialect. A session (one role
of one conversation) stays with one of them while loads are even (`endpoints/routing.py`).

A server that breaks or refuses a connection, that no longer serves the model, or that fails
`PATIENCE` times in a row, is put aside, with a warning. What was in flight there fails and is asked
again elsewhere. It is asked for its models at once and then at growing intervals, and takes part
again when it lists ours. A request that reached no server moves on at no cost; any other move is one
of the `max_retries`, so that a request that kills servers meets a few of them and not all.
"""

from __future__ import annotations

import asyncio
import random
import time
import warnings
from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from ...core.claim import POOLED
from ...core.errors import (
    ConfigError,
    EngineTimeout,
    EngineUnavailable,
    ModelNotFound,
    PolicyError,
    RateLimited,
)
from ..concurrency import AdaptiveLimiter
from ..endpoints.addresses import Addresses, AddressList
from ..endpoints.routing import Router
from ..endpoints.served import ServedModel, not_served
from .call import Call
from .client import MAX_WAIT, ChatClient
from .exchange import lost_connection, never_sent
from .replies import Completion

if TYPE_CHECKING:
    from tenacity import RetryCallState

PATIENCE = 3
"""Failures in a row after which a server that can be reached is put aside."""
PROBE_TIMEOUT = 5.0
"""Seconds within which a server that was put aside must list its models."""
REACH_TIMEOUT = 20.0
"""The same at the start, for each of several servers: one that hangs holds up no run."""
_MAX_BACKOFF = 30.0  # seconds
_MAX_REST = 15.0  # seconds between two looks at a server that was put aside


@dataclass(slots=True, eq=False)
class _Member:
    """One server of the pool.

    Attributes:
        aside: it is not asked while others are there.
        failures: in a row; tells how long to wait before it is looked at again.
        look_at: when that is, on the monotonic clock.
        look: the look under way, or the last.
    """

    client: ChatClient
    aside: bool = False
    failures: int = 0
    look_at: float = 0.0
    look: asyncio.Task[None] | None = None


class ClientPool:
    """Sends chat completions to one server, or to one of several.

    Args:
        given: without `address_problems`.
        model: name of the model; may be set later.
        max_retries: further requests after the first that a transient failure may cost.
        backoff: seconds of the first wait; each next one doubles, up to 30.
        options: further arguments of each `ChatClient`.

    Raises:
        DataError: a file of addresses cannot be used.
    """

    def __init__(
        self, given: Addresses, *, model: str, max_retries: int, backoff: float, **options: Any
    ) -> None:
        self._list = AddressList(given)
        self._model, self._options = model, options
        self._max_retries, self._backoff = max_retries, backoff
        self._members: dict[str, _Member] = {}
        self._lists_model = False
        self._routers: WeakKeyDictionary[AbstractEventLoop, Router] = WeakKeyDictionary()
        self._jitter = random.Random()  # noqa: S311 - spreads retries; must differ between processes
        self._listed = self._list.now()
        for address in self._listed:
            self._join(address)

    @property
    def model(self) -> str:
        """The model that is asked for."""
        return self._model

    @model.setter
    def model(self, name: str) -> None:
        self._model = name
        for member in self._members.values():
            member.client.model = name

    @property
    def addresses(self) -> tuple[str, ...]:
        """The servers of this moment; new ones join, those no longer listed are not asked again."""
        listed = self._list.now()
        if listed != self._listed:
            for address in listed:
                if address not in self._members:
                    self._join(address).aside = True  # until it was looked at
            self._listed = listed
        return listed

    def _join(self, address: str) -> _Member:
        client = ChatClient(base_url=address, model=self._model, **self._options)
        member = self._members[address] = _Member(client)
        return member

    @property
    def base_url(self) -> str:
        """The server as messages name it."""
        first, *others = self._listed
        return f"{first} and {len(others)} more" if others else first

    @property
    def identity(self) -> str:
        """The address as it counts in the identity of a run: it matters where there is one alone."""
        return POOLED if self._list.is_pool else self._listed[0]

    @property
    def dropped(self) -> frozenset[str]:
        """Fields that one of the servers has refused by name, and that it is no longer sent."""
        return frozenset().union(*(m.client.dropped for m in self._members.values()))

    def limiter(self) -> AdaptiveLimiter:
        """The limiter of the first server in the running event loop."""
        return self._members[self._listed[0]].client.limiter()

    async def aclose(self) -> None:
        """Close the connections of the running event loop. Safe to call twice."""
        loop = asyncio.get_running_loop()
        for member in self._members.values():
            if member.look is not None and member.look.get_loop() is loop:
                member.look.cancel()
                await asyncio.gather(member.look, return_exceptions=True)
                member.look = None
            await member.client.aclose()

    # Who serves what

    async def reach(self) -> list[ServedModel] | None:
        """The models that all servers list, or None where none answers with a list.

        A server of several that does not answer is put aside, with a warning.

        Raises:
            AuthenticationFailed: the key was refused.
            EngineUnavailable, EngineTimeout: nobody answers; not retried.
            ModelNotFound: some list our model and others do not.
            ConfigError: no model was named, and they do not list the same one.
        """
        if not self._list.is_pool:
            return await self.models()
        asked = [self._members[address] for address in self.addresses]
        answers = await asyncio.gather(*map(self._models_in_time, asked), return_exceptions=True)
        silent, lists = [], {}
        for member, answer in zip(asked, answers, strict=True):
            if isinstance(answer, EngineUnavailable | EngineTimeout):
                silent.append((member, answer))
            elif isinstance(answer, BaseException):
                raise answer
            else:
                member.aside = False
                lists[member.client.base_url] = answer
        if not lists:
            first = silent[0][1]
            first.message += f"; none of the {len(silent)} servers answers" * (len(silent) > 1)
            raise first
        for member, error in silent:
            self._put_aside(member, error)
        return self._common(lists)

    async def _models_in_time(self, member: _Member) -> list[ServedModel] | None:
        try:
            async with asyncio.timeout(REACH_TIMEOUT):
                return await member.client.models(healthy=True)
        except TimeoutError:
            said = f"{member.client.base_url} listed no models within {REACH_TIMEOUT:.0f} s"
            raise EngineTimeout(said) from None

    def _common(self, lists: Mapping[str, list[ServedModel] | None]) -> list[ServedModel] | None:
        known = {address: served for address, served in lists.items() if served}
        if not known:
            return next(iter(lists.values()))
        names = {address: {entry.name for entry in served} for address, served in known.items()}
        shared = set.intersection(*names.values())
        if self._model and any(self._model in each for each in names.values()):
            self._lists_model = True
            for address, each in names.items():
                if self._model not in each:
                    raise not_served(address, self._model, known[address])
        if not self._model and not shared:
            said = [
                f"{address} serves {', '.join(sorted(each))}" for address, each in names.items()
            ]
            raise ConfigError("no model named, and no model is served by all", problems=said)
        self._lists_model = self._lists_model or not self._model
        return [entry for entry in next(iter(known.values())) if entry.name in shared]

    async def models(self) -> list[ServedModel] | None:
        """The models that the first server lists; see `ChatClient.models`."""
        return await self._members[self._listed[0]].client.models()

    # One completion

    async def chat(
        self,
        body: Mapping[str, Any],
        call: Call,
        *,
        until: Callable[[str], bool] | None = None,
        retry: bool = True,
    ) -> Completion:
        """One answered chat completion.

        Args:
            body: the request's fields, without `model` and `stream`.
            call: counts what it costs.
            until: stream the answer and stop reading once this is true of the text so far.
            retry: whether a transient failure is tried again.

        Raises:
            PolicyError: what failed, after the retries that can help.
        """
        from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

        failed: dict[str, str] = {}

        def may_help(error: BaseException) -> bool:
            patient = call.retry_after is None or call.retry_after <= MAX_WAIT
            patient = patient or self._has_other(failed)
            return isinstance(error, PolicyError) and error.retryable and patient

        def wait(state: RetryCallState) -> float:
            backoff: float = min(_MAX_BACKOFF, self._backoff * 2 ** (state.attempt_number - 1))
            spread = self._jitter.random()
            if call.retry_after is not None and not self._has_other(failed):
                return call.retry_after + spread * min(backoff, 1.0)
            return backoff * (1 + spread) / 2

        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._max_retries + 1 if retry else 1),
            retry=retry_if_exception(may_help),
            wait=wait,
            sleep=asyncio.sleep,
            reraise=True,
        )
        completion = cast("Completion", await retrying(self._ask, body, call, until, failed))
        call.count(completion)
        return completion

    async def _ask(
        self,
        body: Mapping[str, Any],
        call: Call,
        until: Callable[[str], bool] | None,
        failed: dict[str, str],
    ) -> Completion:
        """Ask one server, and others where that one cannot be reached or lacks the model.

        Args:
            failed: servers that failed this request, in order, and why; added to.
        """
        while True:
            member = self._choose(call, failed)
            try:
                completion = await member.client.attempt(body, call, until)
            except PolicyError as error:
                address = member.client.base_url
                failed.pop(address, None)
                failed[address] = "load" if isinstance(error, RateLimited) else "failure"
                self._failed(member, error)
                free = never_sent(error) or isinstance(error, ModelNotFound)
                if not free or not self._has_other(failed):
                    raise
            else:
                member.failures = 0
                if self._list.is_pool:
                    self._take_back(member)
                    call.answered_by(member.client.base_url)
                return completion

    def _choose(self, call: Call, failed: dict[str, str]) -> _Member:
        """The server for a request; a move is noted."""
        listed = self.addresses
        if not self._list.is_pool:
            return self._members[listed[0]]
        self._look_around(listed)
        well = [address for address in listed if not self._members[address].aside]
        among = [address for address in well if address not in failed]
        among = among or well or [a for a in listed if a not in failed] or list(listed)
        router = self._routers.setdefault(asyncio.get_running_loop(), Router())
        before = router.seat(call.session) or next(reversed(failed), None)
        chosen = router.choose(call.session, among, lambda a: self._members[a].client.load())
        if before is not None and before != chosen:
            because = failed.get(before, "load" if before in among else "failure")
            call.moved(before, chosen, because if before in listed else "unlisted")
        return self._members[chosen]

    def _has_other(self, failed: Mapping[str, str]) -> bool:
        """Whether a server that is well has not failed this request yet."""
        return any(
            address not in failed and not self._members[address].aside for address in self._listed
        )

    # Health

    def _failed(self, member: _Member, error: PolicyError) -> None:
        if not self._list.is_pool or member.aside:
            return
        lost = isinstance(error, ModelNotFound) or lost_connection(error)
        if lost or isinstance(error, EngineUnavailable | EngineTimeout):
            member.failures += 1
        if lost or member.failures >= PATIENCE:
            self._put_aside(member, error)

    def _put_aside(self, member: _Member, error: PolicyError) -> None:
        first = member.failures <= 1 and lost_connection(error)  # perhaps one connection alone
        member.aside = True
        self._rest(member, 0.0 if first else None)
        warnings.warn(
            f"{error.message}; it is left out until it answers again, the other servers take what"
            " it had",
            stacklevel=2,
        )

    def _rest(self, member: _Member, seconds: float | None = None) -> None:
        if seconds is None:
            seconds = min(_MAX_REST, self._backoff * 2 ** min(member.failures, 16))
        member.look_at = time.monotonic() + seconds

    def _take_back(self, member: _Member) -> None:
        if member.aside:
            member.aside = False
            warnings.warn(f"{member.client.base_url} answers and takes part", stacklevel=2)

    def _look_around(self, listed: tuple[str, ...]) -> None:
        """Look at those put aside whose time has come."""
        loop, now = asyncio.get_running_loop(), time.monotonic()
        for address in listed:
            member = self._members[address]
            look = member.look
            under_way = look is not None and look.get_loop() is loop and not look.done()
            if member.aside and now >= member.look_at and not under_way:
                member.look = loop.create_task(self._look_at(member))

    async def _look_at(self, member: _Member) -> None:
        """Ask a server for its models, and take it back where it is well and lists ours."""
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                served = await member.client.models(healthy=True)
        except (PolicyError, TimeoutError):
            served, well = [], False
        else:
            well = not self._lists_model or any(m.name == self._model for m in served or ())
        if well:
            self._take_back(member)
            return
        member.failures += 1
        self._rest(member)
        if served:
            warnings.warn(
                f"{not_served(member.client.base_url, self._model, served).message}; it is left out",
                stacklevel=2,
            )
