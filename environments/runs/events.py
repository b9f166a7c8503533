"""What an observer of a batch is told."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..dialogue.spoken import Spoken
from ..episodes.episode import FAILED, Episode
from ..episodes.sequence import Episodes
from ..scenarios.scenario import Scenario


@dataclass(frozen=True, slots=True)
class Started:
    """An event: an episode began."""

    scenario: Scenario


@dataclass(frozen=True, slots=True)
class Ended:
    """An event: an episode ended."""

    episode: Episode


@dataclass(frozen=True, slots=True)
class Resumed:
    """An event: episodes were found finished in the log. Comes once, first.

    Attributes:
        episodes: they themselves, in the order of the scenarios; read when they are asked for.
        stops: how many, by how they ended.
    """

    episodes: Episodes
    stops: Mapping[str, int]

    @property
    def failed(self) -> int:
        """How many of them ended in an error."""
        return sum(self.stops.get(end.value, 0) for end in FAILED)


BatchEvent = Started | Spoken | Ended | Resumed
BatchObserver = Callable[[BatchEvent], None]
