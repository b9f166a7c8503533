"""Many questions to a policy at once: a few in flight, and the first failure stops the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def for_each(
    items: Iterable[T], work: Callable[[T], Awaitable[None]], concurrency: int
) -> None:
    """Do `work` for every item, `concurrency` at a time.

    Raises:
        Exception: the first that `work` raised; what was still open is cancelled.
    """
    gate = asyncio.Semaphore(concurrency)

    async def gated(item: T) -> None:
        async with gate:
            await work(item)

    tasks = [asyncio.create_task(gated(item)) for item in items]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
