"""What people, judges and scorers said of the evaluated conversations, as rows beside the scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...core.errors import ConfigError
from ...environments.episodes.rating import GOLD, Rating, iter_ratings
from ..metrics.metric import Score
from ..statistics.uncertainty import estimate_mean
from .places import candidate_of
from .reply import EvaluatedReply

Key = tuple[str, str, str, bool]
"""Kind of rater, dimension, rubric, and whether whole conversations were rated."""


def read_ratings(files: Iterable[str | Path], episodes: Iterable[str]) -> list[Rating]:
    """The ratings of some conversations, or of replies in them.

    Comparisons and answers to gold items are none.

    Args:
        files: a file of ratings, or a folder with one.
        episodes: ids.

    Raises:
        ConfigError: a file rates none of them.
        DataError: a file cannot be read.
    """
    known, found = frozenset(episodes), []
    for file in files:
        every = [r for r in iter_ratings(file) if not (r.notes or {}).keys() & {"first", GOLD}]
        mine = [rating for rating in every if rating.episode in known]
        if not mine:
            raise ConfigError(
                f"none of the {len(every)} ratings in {file} is of these conversations",
                hint="give the ratings of the evaluated corpus, study or evaluation",
            )
        found += mine
    return found


def rated_scores(
    ratings: Sequence[Rating], replies: Sequence[EvaluatedReply], drawing: Mapping[str, Any]
) -> list[Score]:
    """Means of ratings, on their rubric's scale, with intervals over conversations.

    Args:
        ratings: of these conversations, see `read_ratings`.
        replies: of one setting; ratings of single replies count where they are of these.
        drawing: how intervals are drawn.
    """
    places = {(reply.episode, reply.turn, candidate_of(reply)) for reply in replies}
    groups: dict[Key, list[Rating]] = {}
    for rating in ratings:
        whole = rating.utterance is None
        if whole or (rating.episode, rating.utterance, rating.candidate) in places:
            key = (rating.kind, rating.dimension, rating.rubric, whole)
            groups.setdefault(key, []).append(rating)
    return [_score(key, groups[key], drawing) for key in sorted(groups)]


def _score(key: Key, ratings: Sequence[Rating], drawing: Mapping[str, Any]) -> Score:
    kind, dimension, rubric, whole = key
    groups = [rating.episode for rating in ratings]
    drawn = drawing["resamples"] > 0
    found = estimate_mean(
        [rating.value for rating in ratings],
        groups=groups,
        **(drawing if drawn else {"resamples": 1}),
    )
    what = "conversations" if whole else "replies"
    raters = len({rating.rater for rating in ratings})
    return Score(
        metric=f"{dimension} ({kind})",
        value=found.value,
        unit="",
        convention=f"mean rating of {what} by {raters} of kind {kind}"
        + (f", rubric {rubric}" if rubric else ""),
        n=found.n,
        missing=len(ratings) - found.n,
        interval=found.interval if drawn else None,
    )
