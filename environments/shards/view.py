"""The view of a run with several workers: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ...core.outside.console import make_console
from ...core.shards.driver import ShardLost, ShardStarted, UnitDone
from ...core.shards.status import Rate

LINE_EVERY = 2.0
"""Seconds between two lines where there is no terminal."""
SHOWN_SHARDS = 32
"""Rows of the live table at most; the others are summed up in one."""


@dataclass
class _Worker:
    """What is known of a worker."""

    done: int = 0
    failed: int = 0
    restarts: int = 0
    lost: str = ""
    rate: Rate = field(default_factory=Rate)


class Counts:
    """What the events of a run come to, by worker and in total.

    Args:
        total: episodes asked for.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.found = 0
        self.stops: Counter[str] = Counter()
        self.workers: dict[int, _Worker] = {}
        self.rate = Rate()

    @property
    def done(self) -> int:
        """Episodes finished, those of earlier starts included."""
        return self.stops.total()

    def __call__(self, event: Any) -> None:
        match event:
            case ShardStarted(shard=shard, restarts=restarts):
                self._of(shard).restarts = restarts
            case ShardLost(shard=shard, why=why):
                self._of(shard).lost = why
            case UnitDone(shard=shard, fact=fact):
                worker = self._of(shard)
                worker.done += 1
                worker.failed += fact.failed
                worker.rate.add(fact.tokens)
                self.rate.add(fact.tokens)
                self.stops[fact.end] += 1
            case _ if (stops := getattr(event, "stops", None)) is not None:
                self.stops.update(stops)
                self.found += sum(stops.values())

    def _of(self, shard: int) -> _Worker:
        return self.workers.setdefault(shard, _Worker())

    def line(self) -> str:
        """The state in one line."""
        failed = sum(worker.failed for worker in self.workers.values())
        restarts = sum(worker.restarts for worker in self.workers.values())
        line = f"{self.done}/{self.total} episodes, {len(self.workers)} workers"
        line += f", {self.rate.value():.0f} tokens/s"
        line += f", {failed} failed" if failed else ""
        return line + (f", {restarts} restarts" if restarts else "")


class ShardView:
    """Observes a run and shows it. Use as a context manager, and pass it as `observe`.

    Args:
        total: episodes asked for.
        console: where to show it; a terminal gets the live table, anything else plain lines.
    """

    def __init__(self, total: int, *, console: Console | None = None) -> None:
        self.console = console or make_console()
        self.counts = Counts(total)
        self._progress = Progress(
            TextColumn("episodes"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("time left"),
            TimeRemainingColumn(),
            console=self.console,
        )
        self._task = self._progress.add_task("episodes", total=total)
        self._live: Live | None = None
        self._said = time.monotonic()

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live = Live(
                get_renderable=self._render, console=self.console, refresh_per_second=4
            )
            self._live.start(refresh=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
        else:
            self.console.print(Text(self.counts.line()))

    def __call__(self, event: Any) -> None:
        self.counts(event)
        if isinstance(event, ShardLost):
            self.console.print(Text(_lost(event), style="yellow"))
        now = time.monotonic()
        if self._live is None and now - self._said > LINE_EVERY:
            self._said = now
            self.console.print(Text(self.counts.line()))

    def _render(self) -> RenderableType:
        counts = self.counts
        self._progress.update(self._task, completed=counts.done)
        table = Table("worker", "episodes", "failed", "tokens/s", "restarts", box=None)
        shown = sorted(counts.workers.items())
        for number, worker in shown[:SHOWN_SHARDS]:
            table.add_row(*map(str, (number, worker.done, worker.failed)), *_speed(worker))
        if rest := shown[SHOWN_SHARDS:]:
            done, failed = sum(w.done for _, w in rest), sum(w.failed for _, w in rest)
            table.add_row(f"{len(rest)} more", str(done), str(failed), "", "")
        stops = ", ".join(f"{stop} {count}" for stop, count in counts.stops.most_common())
        state = f"{counts.rate.value():.0f} tokens/s"
        state += f" · resumed {counts.found}" if counts.found else ""
        return Group(table, self._progress, Text(f"{state} · {stops}", style="dim"))


class ShardLines:
    """Observes a run that was started from Python: lost workers are told on standard error."""

    def __init__(self, total: int, stream: IO[str] | None = None) -> None:
        self.counts = Counts(total)
        self._stream = stream or sys.stderr

    def __call__(self, event: Any) -> None:
        self.counts(event)
        if isinstance(event, ShardLost):
            self.say(_lost(event))

    def say(self, line: str) -> None:
        """Write a line."""
        self._stream.write(f"{line}\n")
        self._stream.flush()


def _speed(worker: _Worker) -> tuple[str, str]:
    return f"{worker.rate.value():.0f}", f"{worker.restarts}"


def _lost(event: ShardLost) -> str:
    return f"worker {event.shard} was lost ({event.why}); what it had open is played again"
