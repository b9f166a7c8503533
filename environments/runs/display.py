"""The view of a run: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections import Counter, deque
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ...agents.roles import Role
from ...core.outside.console import make_console
from ...core.shards.status import Rate
from ...policies.human.terminal import TERMINAL
from ..dialogue.spoken import Spoken
from ..episodes.episode import Episode, Utterance
from .events import BatchEvent, Ended, Resumed, Started

STYLES = {Role.SEEKER: "cyan", Role.SUPPORTER: "green"}
SHOWN_EXCHANGES = 6


class LiveView:
    """Observes a batch and shows it. Use as a context manager, and pass it as `observe`.

    A live display would erase what a person types. When one is asked, it ends for good and plain
    lines take its place.

    Args:
        total: episodes asked for.
        console: where to show it; a terminal gets the live display, anything else plain lines.
        conversations: also print each conversation when it ends.
    """

    def __init__(
        self, total: int, *, console: Console | None = None, conversations: bool = False
    ) -> None:
        self.console = console or make_console()
        self.total = total
        self.conversations = conversations
        self.stops: Counter[str] = Counter()
        self._types: dict[str, str] = {}
        self._recent: deque[tuple[str, Utterance]] = deque(maxlen=SHOWN_EXCHANGES)
        self._rate = Rate()
        self._open = 0
        self._resumed = 0
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
        self._entered = ExitStack()

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live = Live(
                get_renderable=self._render, console=self.console, refresh_per_second=4
            )
            self._live.start(refresh=True)
            self._entered.enter_context(TERMINAL.display(self._end_live))
        return self

    def _end_live(self) -> None:
        """Erase the live display; plain lines follow."""
        if self._live is not None:
            self._live.transient = True
            self._live.stop()
            self._live = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._entered.close()
        if self._live is not None:
            self._live.stop()

    def __call__(self, event: BatchEvent) -> None:
        match event:
            case Started(scenario=scenario):
                self._open += 1
                self._types[scenario.id] = scenario.problem_type
            case Spoken(episode=episode, what=Utterance() as utterance):
                self._recent.append((episode, utterance))
            case Ended(episode=finished):
                self._end(finished)
            case Resumed(episodes=found, stops=stops):
                self.stops.update(stops)
                self._resumed += len(found)
                self._progress.advance(self._task, len(found))

    def _end(self, episode: Episode) -> None:
        self.stops[episode.stop.value] += 1
        self._progress.advance(self._task)
        self._open -= 1
        self._types.pop(episode.id, None)
        self._rate.add(episode.usage.completion_tokens)
        if self.conversations:
            self.console.print(conversation(episode))
        if self._live is None:
            done = sum(self.stops.values())
            line = f"{done}/{self.total} {episode.id}: {episode.stop.value}"
            line += f", {len(episode.utterances)} utterances"
            line += f", {episode.timing.seconds:.1f} s" if episode.timing else ""
            self.console.print(Text(line))
            if episode.error:
                self.console.print(Text(f"  {episode.error.type}: {episode.error.message}"))

    def _render(self) -> RenderableType:
        exchanges = Table.grid(padding=(0, 1))
        exchanges.add_column(style="dim", no_wrap=True, max_width=28)
        exchanges.add_column(overflow="fold")
        for episode, utterance in self._recent:
            exchanges.add_row(self._types.get(episode, episode), spoken(utterance))
        stops = ", ".join(f"{stop} {count}" for stop, count in self.stops.most_common())
        state = f"open {self._open} · {self._rate.value():.0f} tokens/s"
        state += f" · resumed {self._resumed}" if self._resumed else ""
        return Group(exchanges, self._progress, Text(f"{state} · {stops}", style="dim"))


def spoken(utterance: Utterance) -> Text:
    """One utterance as a line; the strategy in front, marks behind."""
    text = Text()
    text.append(f"{utterance.role.value.capitalize()}: ", style=f"bold {STYLES[utterance.role]}")
    if utterance.strategy:
        text.append(f"[{utterance.strategy.value}] ", style="magenta")
    text.append(utterance.text)
    if utterance.crisis:
        text.append(f" (crisis language: {', '.join(utterance.crisis)})", style="bold red")
    return text


def conversation(episode: Episode) -> RenderableType:
    """A finished conversation, ready to print."""
    scenario = episode.scenario
    title = Text(f"{scenario.problem_type} · {episode.id}", style="bold")
    end = Text(f"(ended: {episode.stop.value})\n", style="dim")
    if (error := episode.error) is not None:
        said = ": ".join(filter(None, (error.role, error.type, error.message)))
        end = end.append(f"{said}\n", style="yellow")
    about = Text(f"{scenario.situation}", style="dim")
    return Group(title, about, *(spoken(u) for u in episode.utterances), end)
