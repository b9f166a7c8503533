"""One pass over a corpus: everything is counted, a seeded sample of its dialogues is kept.

A corpus is a run's folder or a log file. Counting needs memory for the counts alone; what compares
dialogues with each other works on the sample, so a million dialogues are possible. Which
dialogues are sampled depends on their ids and the seed, not on their order.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ...agents.roles import Role, Strategy
from ...core.errors import DataError
from ...core.outside.progress import observed
from ...core.seeds import hashed_rank
from ...environments.episodes.episode import Episode
from ...environments.episodes.log import iter_episodes
from ...environments.episodes.sides import heading_of, place_of
from ...environments.scenarios.scenario import UNSPECIFIED
from .profile import Counts

SAMPLE = 20_000
"""Dialogues kept for what compares dialogues."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One utterance; `strategies` are all labels that it carries, in order."""

    role: Role
    text: str
    strategies: tuple[Strategy, ...] = ()


@dataclass(frozen=True, slots=True)
class Dialogue:
    """What analyses need of an episode: a log line of 30 kB becomes 3.

    A problem type or a situation that the source does not give is empty.
    """

    id: str
    problem_type: str
    situation: str
    turns: tuple[Turn, ...]

    @property
    def text(self) -> str:
        """All utterances joined by spaces, without speaker tokens (SweetieChat App. D)."""
        return " ".join(turn.text for turn in self.turns)

    def of(self, role: Role) -> list[Turn]:
        """The utterances of one speaker."""
        return [turn for turn in self.turns if turn.role == role]


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus as read.

    Attributes:
        name: column heading.
        counts: over all its dialogues.
        sample: up to `SAMPLE` dialogues, in the order of a hash of seed and id; its head is a
            smaller sample.
    """

    name: str
    counts: Counts
    sample: tuple[Dialogue, ...]

    @property
    def whole(self) -> bool:
        """Whether the sample holds every dialogue."""
        return len(self.sample) == self.counts.dialogues


def dialogue_of(episode: Episode) -> Dialogue:
    """The part of an episode that analyses need."""
    return Dialogue(
        episode.id,
        _given(episode.scenario.problem_type),
        _given(episode.scenario.situation),
        tuple(Turn(u.role, u.text, u.strategies) for u in episode.utterances),
    )


def _given(text: str) -> str:
    return "" if text == UNSPECIFIED else text


def read_corpus(
    path: str | Path,
    *,
    name: str | None = None,
    sample: int = SAMPLE,
    seed: int = 0,
    observe: Callable[[Episode], None] | None = None,
) -> Corpus:
    """Read a run's folder or a log file once.

    Args:
        path: the folder or the file.
        name: the column's heading; the folder's or file's name by default.
        sample, seed: see `corpus_of`.
        observe: called with each episode as it is read.

    Raises:
        DataError: no log, a line that is not an episode, or no dialogue at all.
    """
    label = name or heading_of(place_of(path))
    corpus = corpus_of(observed(iter_episodes(path), observe), name=label, sample=sample, seed=seed)
    if not corpus.counts.dialogues:
        raise DataError(
            "holds no dialogue to analyse",
            file=path,
            hint="episodes that ended in an error or without an utterance are left out",
        )
    return corpus


def corpus_of(
    episodes: Iterable[Episode], *, name: str, sample: int = SAMPLE, seed: int = 0
) -> Corpus:
    """Count a stream of episodes and sample it.

    Episodes that ended in an error, and those without any utterance, are counted and left out. An
    episode that failed first and was played again counts as what it became.
    """
    counts = Counts()
    failed: set[str] = set()
    heap: list[tuple[int, str, int, Dialogue]] = []
    for number, episode in enumerate(episodes):
        if episode.stop.failed:
            failed.add(episode.id)
            continue
        failed.discard(episode.id)
        if not episode.utterances:
            counts.empty += 1
            continue
        counts.add(episode, [u.strategies for u in episode.utterances])
        rank = hashed_rank(seed, episode.id)
        if len(heap) < sample:
            heapq.heappush(heap, (-rank, episode.id, number, dialogue_of(episode)))
        elif heap and -rank > heap[0][0]:
            heapq.heapreplace(heap, (-rank, episode.id, number, dialogue_of(episode)))
    counts.failed = len(failed)
    kept = sorted(heap, key=lambda entry: (-entry[0], entry[1], entry[2]))
    return Corpus(name, counts, tuple(entry[3] for entry in kept))
