"""What is told of a conversation while it goes on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...core.record import quick
from ..episodes.episode import Utterance, Verdict


@quick
@dataclass(frozen=True, slots=True)
class Spoken:
    """An event: an utterance or a verdict was added to the conversation `episode`."""

    episode: str
    what: Utterance | Verdict


Observer = Callable[[Spoken], None]
