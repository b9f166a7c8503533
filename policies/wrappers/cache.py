"""`cache`: what was asked before is not asked again."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import time
from asyncio import AbstractEventLoop
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from ...core.source_text import without_sources
from ..asking import ask_policy
from ..base import Policy, Reply, Request, describe_policy, policy_name
from .base import Wrapper
from .store import ReplyStore, default_path


@dataclasses.dataclass(slots=True)
class _PendingReply:
    """One question under way, and who waits for it.

    Attributes:
        task: gives the reply, and whether it came from the store.
        claimed: somebody already took the reply as the one that was paid for.
    """

    task: asyncio.Task[tuple[Reply, bool]]
    waiting: int = 0
    claimed: bool = False


class Cache(Wrapper):
    """Keeps replies in an SQLite file, for tasks, threads and processes to share.

    A reply is stored before it is handed out; so an episode that was interrupted runs through its
    first part again without asking anybody. Equal requests under way at the same time in one event
    loop ask the inner policy once (two processes may both ask; the first stored reply stays).

    Equal means: same engine (its `describe()`), messages, role, sampling, seed, choices, schema,
    sentence limit, prefill and log-probabilities. The session and the observation do not count.
    Failures are not kept, `score()` is passed on.

    Args:
        policy: the inner policy.
        path: the file; `warmline/replies.sqlite` in the user's cache folder by default.
        unseeded: also keep replies to requests that have neither a seed nor temperature 0. The same
            reply then comes each time, which a sampling policy without a seed would not do.

    Raises:
        DataError: (from `open` and `respond`) the file is damaged or is not a cache.
        RunError: (from the same) the file cannot be read or written.

    Replies from the cache have `cached` set; they keep the usage and the policy's name of the first
    asking, so that an episode's record is the same whether it was interrupted or not.
    """

    kind = "cache"

    def __init__(
        self, policy: Policy, *, path: str | Path | None = None, unseeded: bool = False
    ) -> None:
        super().__init__(policy)
        self.store = ReplyStore(path or default_path())
        self._unseeded = unseeded
        self._pending: WeakKeyDictionary[AbstractEventLoop, dict[bytes, _PendingReply]] = (
            WeakKeyDictionary()
        )
        self.hits = 0
        """Replies given without asking the inner policy."""
        self.misses = 0
        """Replies for which it was asked."""

    async def open(self) -> None:
        """Open the file, then the inner policy."""
        await self.store.open()
        await super().open()

    async def aclose(self) -> None:
        """Close both."""
        try:
            await super().aclose()
        finally:
            await self.store.close()

    def describe(self) -> dict[str, Any]:
        """The inner policy's: a cache changes no answer, unless it keeps unseeded ones."""
        inner = describe_policy(self.inner)
        return {**inner, "cache": {"unseeded": True}} if self._unseeded else inner

    async def respond(self, request: Request) -> Reply:
        started = time.perf_counter()
        if request.seed is None and request.sampling.temperature != 0 and not self._unseeded:
            reply, cached = await ask_policy(self.inner, request), False
            self.misses += 1
        else:
            reply, cached = await self._join(request_key(request, self.inner), request)
        return dataclasses.replace(
            reply,
            policy=reply.policy or policy_name(self.inner),
            latency=time.perf_counter() - started,
            cached=cached or reply.cached,
        )

    async def _join(self, key: bytes, request: Request) -> tuple[Reply, bool]:
        """The reply, and whether it was free. Whoever takes a pending reply first paid for it."""
        pending = self._pending.setdefault(asyncio.get_running_loop(), {})
        one = pending.get(key)
        if one is None:
            one = pending[key] = _PendingReply(asyncio.create_task(self._fetch(key, request)))
        one.waiting += 1
        try:
            # Shielded: cancelling one of those who wait must not take the answer from the others.
            reply, stored = await asyncio.shield(one.task)
        finally:
            one.waiting -= 1
            if not one.waiting and pending.get(key) is one:
                del pending[key]
            if not one.waiting and not one.task.done():
                one.task.cancel()
                await asyncio.gather(one.task, return_exceptions=True)
        free = stored or one.claimed
        one.claimed = True
        self.hits += free
        self.misses += not free
        return reply, free

    async def _fetch(self, key: bytes, request: Request) -> tuple[Reply, bool]:
        if (stored := await self.store.get(key)) is not None:
            return stored, True
        reply = await ask_policy(self.inner, request)
        await self.store.put(key, reply)
        return reply, False


def request_key(request: Request, policy: Policy) -> bytes:
    """SHA-256 of everything that can change the answer.

    The role is among it because a policy may answer by role (a script, `refine`). The order of a
    schema's properties counts: engines write them in that order.
    """
    asked = [
        [[message.role, message.content] for message in request.messages],
        request.role,
        request.sampling.as_dict(),
        request.seed,
        request.choices,
        request.schema,
        request.max_sentences,
        request.prefill,
        request.logprobs,
    ]
    engine = json.dumps(without_sources(describe_policy(policy)), sort_keys=True, default=str)
    return hashlib.sha256(f"1\n{engine}\n{json.dumps(asked, default=dict)}".encode()).digest()
