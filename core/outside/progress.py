"""How far a long command is: a moving line on a terminal, a line now and then where output is piped."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn

T = TypeVar("T")
LINE_EVERY = 30.0
"""Seconds between two lines where there is no terminal."""


def observed(items: Iterable[T], observe: Callable[[T], None] | None) -> Iterable[T]:
    """The items as they are; `observe` is called with each one before it is given on."""
    if observe is None:
        return items
    return _observed(items, observe)


def _observed(items: Iterable[T], observe: Callable[[T], None]) -> Iterator[T]:
    for item in items:
        observe(item)
        yield item


class Counting:
    """Counts of work that is done, shown while it goes on. Use as a context manager.

    Args:
        console: where it is shown; standard error, so that the result stays apart.
        what: what is counted, such as `verdicts`.
        clock: seconds that never go back.
    """

    def __init__(
        self, console: Console, *what: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.counts = dict.fromkeys(what, 0)
        self._console, self._clock = console, clock
        self._bar = Progress(
            TextColumn("{task.description}"),
            MofNCompleteColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._tasks = {name: self._bar.add_task(name, total=None) for name in what}
        self._said = clock()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def reached(self, what: str) -> Callable[[int], None]:
        """A function to be told how many are done in all."""
        return lambda total: self.add(what, total - self.counts[what])

    def add(self, what: str, count: int = 1) -> None:
        """So many more are done."""
        self.counts[what] += count
        if self._console.is_terminal:
            self._bar.advance(self._tasks[what], count)
        elif self._clock() - self._said >= LINE_EVERY:
            self._said = self._clock()
            self._console.print(", ".join(f"{n:,} {name}" for name, n in self.counts.items()))
