"""One thread that computes all waiting items as one batch, for engines with one-pass answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from ...core.errors import EngineUnavailable, PolicyError
from ..sharing import OwnProcess

I = TypeVar("I")  # noqa: E741 - an item
O = TypeVar("O")  # noqa: E741 - its outcome
T = TypeVar("T")


class Batcher(Generic[I, O]):
    """Gathers items while earlier ones are computed; the first one is computed at once, alone.

    Args:
        compute: outcomes of some items, in their order; a `PolicyError` as an outcome is raised for
            that item alone, one that is raised fails them all.
        max_items: maximum number of items computed together.
    """

    def __init__(
        self, compute: Callable[[Sequence[I]], list[O | PolicyError]], max_items: int
    ) -> None:
        self._compute, self._max_items = compute, max_items
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="warmline-heads")
        self._process = OwnProcess("the classifier")
        self._waiting: deque[tuple[I, Future[O]]] = deque()

    def ask(self, item: I) -> Future[O]:
        """The outcome of an item; a cancelled one is not computed if it still waits.

        Raises:
            EngineUnavailable: closed, or opened in another process.
        """
        self._process.check()
        done: Future[O] = Future()
        self._waiting.append((item, done))
        self.call(self._step)
        return done

    def call(self, make: Callable[[], T]) -> Future[T]:
        """Run something in the thread.

        Raises:
            EngineUnavailable: closed.
        """
        try:
            return self._pool.submit(make)
        except RuntimeError as error:
            raise EngineUnavailable("the engine was closed") from error

    def close(self) -> None:
        """End the thread after its current step; items still waiting get `EngineUnavailable`."""
        if not self._process.here:
            return
        self._pool.shutdown(wait=True, cancel_futures=True)
        while self._waiting:
            _, done = self._waiting.popleft()
            if done.set_running_or_notify_cancel():
                done.set_exception(EngineUnavailable("the engine was closed"))

    def _step(self) -> None:
        batch: list[tuple[I, Future[O]]] = []
        while self._waiting and len(batch) < self._max_items:
            item, done = self._waiting.popleft()
            if done.set_running_or_notify_cancel():
                batch.append((item, done))
        if not batch:  # an earlier step computed them too
            return
        try:
            outcomes = self._compute([item for item, _ in batch])
        except Exception as error:  # noqa: BLE001 - raised where each is waited for
            failure = error if isinstance(error, PolicyError) else _failed(error)
            for _, done in batch:
                done.set_exception(failure)
            return
        for (_, done), outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, PolicyError):
                done.set_exception(outcome)
            else:
                done.set_result(outcome)


def _failed(error: Exception) -> EngineUnavailable:
    failure = EngineUnavailable(f"the computation failed: {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure
