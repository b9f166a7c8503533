"""What the page shows of a run, read from its folder in one pass.

Of each episode a small plain record is kept for the browser, without the calls: 5,000 conversations
are then some 15 MB of page. Text is kept as it is; the page never treats it as markup.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...agents.roles import Role
from ...core.errors import DataError
from ...environments.corpus.statistics import CorpusStatistics, StatisticsCounter
from ...environments.episodes.episode import Episode, StopReason, Utterance
from ...environments.episodes.log import iter_episodes
from ...environments.episodes.rating import RATINGS_NAME, Rating, iter_ratings
from ...environments.runs.summary import summarize
from ..analyses.profile import Counts


@dataclass(slots=True)
class RunView:
    """One run on the page.

    Attributes:
        name: of the folder or file; the column's heading.
        counts: over the conversations that did not fail.
        statistics: sizes and lengths in the form of FPEMF Table 2, over the same.
        summary: as in `summary.json`, failed attempts included.
        episodes: one plain record a conversation, see `episode_view`.
        ratings: all that were found, also those of conversations that are not here.
        unmatched: ratings of conversations that are not in this run.
    """

    name: str
    counts: Counts
    statistics: CorpusStatistics
    summary: dict[str, Any]
    episodes: list[dict[str, Any]] = field(repr=False)
    ratings: list[Rating] = field(repr=False)
    unmatched: int = 0


def read_run(path: str | Path, *, name: str | None = None, ratings: Iterable[Path] = ()) -> RunView:
    """Read a run's folder or a log file, and the ratings beside it.

    Args:
        path: a run's folder or a log file.
        name: the column's heading; the folder's or file's name by default.
        ratings: further files of ratings.

    Raises:
        DataError: no log, or a line that is not an episode or a rating.
    """
    path = Path(path)
    counts, counter = Counts(), StatisticsCounter()
    views: dict[str, dict[str, Any]] = {}

    def passing() -> Iterator[Episode]:
        for episode in iter_episodes(path):
            views[episode.id] = episode_view(episode)
            if episode.stop is not StopReason.ERROR and episode.utterances:
                counts.add(episode, [u.strategies for u in episode.utterances])
                counter.add(episode)
            yield episode

    summary = summarize(passing())
    if not views:
        raise DataError("holds no conversation", file=path, hint="simulate into it first")
    counts.failed = sum(view["stop"] == "error" for view in views.values())
    found = list(_ratings_of(path, ratings))
    unmatched = _attach(views, found)
    return RunView(
        name=name or (path.name if path.is_dir() else path.stem),
        counts=counts,
        statistics=counter.result(),
        summary=summary,
        episodes=list(views.values()),
        ratings=found,
        unmatched=unmatched,
    )


def _ratings_of(path: Path, further: Iterable[Path]) -> Iterator[Rating]:
    beside = path / RATINGS_NAME
    if path.is_dir() and beside.is_file():
        yield from iter_ratings(beside)
    for file in further:
        yield from iter_ratings(file)


def _attach(views: dict[str, dict[str, Any]], ratings: list[Rating]) -> int:
    of: dict[str, list[dict[str, Any]]] = defaultdict(list)
    unmatched = 0
    for rating in ratings:
        if rating.episode not in views:
            unmatched += 1
            continue
        of[rating.episode].append(
            _lean(
                dimension=rating.dimension,
                value=rating.value,
                by=rating.rater,
                kind=rating.kind,
                at=rating.utterance,
                candidate=rating.candidate,
                why=rating.explanation,
                unreadable=rating.value is None,
            )
        )
    for key, notes in of.items():
        views[key]["ratings"] = notes
    return unmatched


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
