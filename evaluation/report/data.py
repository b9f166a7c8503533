"""What the page shows of a run, read from its folder in one pass.

Of each episode shown a small plain record is kept for the browser, without the calls: 5,000
conversations are then some 15 MB of page. Of a larger run that many are shown, a sample; the numbers
are over all. Text is kept as it is; the page never treats it as markup.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...agents.roles import Role
from ...core.errors import DataError
from ...core.outside.progress import observed
from ...core.seeds import hashed_rank
from ...environments.corpus.statistics import CorpusStatistics, StatisticsCounter
from ...environments.episodes.episode import Episode, Utterance
from ...environments.episodes.log import iter_episodes
from ...environments.episodes.rating import RATINGS_NAME, RatedValues, Rating, iter_ratings
from ...environments.episodes.sides import Place, heading_of, place_of
from ...environments.runs.summary import Totals
from ..analyses.profile import Counts

SHOWN = 5_000
"""Conversations of one run that the page shows."""

SAMPLE_SEED = 0
"""Of the sample; with the id alone it decides, so that two runs of the same scenarios show the same."""


@dataclass(slots=True)
class RunView:
    """One run on the page.

    Attributes:
        name: of the folder or file; the column's heading.
        counts: over the conversations that did not fail.
        statistics: sizes and lengths in the form of FPEMF Table 2, over the same.
        summary: as in `summary.json`, failed attempts included.
        conversations: how many there are.
        episodes: one plain record a conversation that is shown, see `episode_view`.
        rated: ratings by kind, dimension and rubric, also those of conversations that are not here.
        unmatched: ratings of conversations that are not in this run.
    """

    name: str
    counts: Counts
    statistics: CorpusStatistics
    summary: dict[str, Any]
    conversations: int
    episodes: list[dict[str, Any]] = field(repr=False)
    rated: dict[tuple[str, str, str], RatedValues] = field(default_factory=dict, repr=False)
    unmatched: int = 0


class _Sample:
    """The views of at most so many conversations: those with the lowest ranks by their ids."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._ranks: list[tuple[int, str]] = []
        self.views: dict[str, dict[str, Any]] = {}

    def add(self, episode: Episode) -> None:
        """Take in one attempt; a later one of the same conversation takes its place."""
        if episode.id not in self.views:
            entry = (-hashed_rank(SAMPLE_SEED, episode.id), episode.id)
            if len(self.views) < self._size:
                heapq.heappush(self._ranks, entry)
            elif not self._ranks or entry < self._ranks[0]:
                return
            else:
                del self.views[heapq.heapreplace(self._ranks, entry)[1]]
        self.views[episode.id] = episode_view(episode)


def read_run(
    path: str | Path,
    *,
    name: str | None = None,
    ratings: Iterable[Path] = (),
    shown: int = SHOWN,
    observe: Callable[[Episode], None] | None = None,
) -> RunView:
    """Read a run's folder or a log file, and the ratings beside it.

    Args:
        path: a run's folder or a log file.
        name: the column's heading; the folder's or file's name by default.
        ratings: further files of ratings.
        shown: conversations that are kept for the page at most.
        observe: called with each conversation as it is read.

    Raises:
        DataError: no log, or a line that is not an episode or a rating.
    """
    place = place_of(path)
    counts, counter, totals, sample = Counts(), StatisticsCounter(), Totals(), _Sample(shown)
    seen: set[str] = set()
    failed: set[str] = set()
    for episode in observed(iter_episodes(path), observe):
        totals.add(episode)
        sample.add(episode)
        seen.add(episode.id)
        if episode.stop.failed:
            failed.add(episode.id)
            continue
        failed.discard(episode.id)
        if episode.utterances:
            counts.add(episode, [u.strategies for u in episode.utterances])
            counter.add(episode)
    if not seen:
        raise DataError("holds no conversation", file=path, hint="simulate into it first")
    counts.failed = len(failed)
    view = RunView(
        name=name or heading_of(place),
        counts=counts,
        statistics=counter.result(),
        summary=totals.summary(),
        conversations=len(seen),
        episodes=list(sample.views.values()),
    )
    for rating in _ratings_of(place, ratings, seen):
        about = (rating.kind, rating.dimension, rating.rubric)
        view.rated.setdefault(about, RatedValues()).add(rating)
        view.unmatched += rating.episode not in seen
        if rating.episode in sample.views:
            sample.views[rating.episode].setdefault("ratings", []).append(_note(rating))
    return view


def _ratings_of(place: Place, further: Iterable[Path], there: Collection[str]) -> Iterator[Rating]:
    """The ratings beside the log, of a side only its own, and those of further files."""
    beside = place.path / RATINGS_NAME
    if place.path.is_dir() and beside.is_file():
        yield from (r for r in iter_ratings(beside) if place.side is None or r.episode in there)
    for file in further:
        yield from iter_ratings(file)


def _note(rating: Rating) -> dict[str, Any]:
    return _lean(
        dimension=rating.dimension,
        value=rating.value,
        by=rating.rater,
        kind=rating.kind,
        at=rating.utterance,
        candidate=rating.candidate,
        why=rating.explanation,
        unreadable=rating.value is None,
    )


def episode_view(episode: Episode) -> dict[str, Any]:
    """What the page shows of one conversation; empty fields are left out."""
    return _lean(
        id=episode.id,
        type=episode.scenario.problem_type,
        category=episode.scenario.category,
        situation=episode.scenario.situation,
        profile=str(episode.scenario.profile),
        stop=episode.stop.value,
        error=f"{episode.error.type}: {episode.error.message}" if episode.error else "",
        turns=[_utterance_view(u) for u in episode.utterances],
        verdicts=[_lean(after=v.after, end=v.end, unread=v.end is None) for v in episode.verdicts],
        tokens=episode.usage.total_tokens,
        seconds=round(episode.timing.seconds, 1) if episode.timing else None,
    )


def _utterance_view(utterance: Utterance) -> dict[str, Any]:
    return _lean(
        who="p" if utterance.role == Role.SUPPORTER else "s",
        text=utterance.text,
        raw=utterance.raw if utterance.raw.strip() != utterance.text.strip() else "",
        strategies=[s.value for s in utterance.strategies],
        repairs=list(utterance.repairs),
        crisis=list(utterance.crisis),
    )


def _lean(**fields: Any) -> dict[str, Any]:
    """Without what is empty; False and None are, 0 is not."""
    empty: tuple[Any, ...] = (None, False, "", [])
    return {k: v for k, v in fields.items() if not any(v is e or v == e != 0 for e in empty)}


def as_script(value: Any) -> str:
    """JSON that can stand inside a `script` element, whatever text it holds."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
