"""A trained scorer as a rater: `Rating`s of what supporters said in conversations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from ...core.errors import ContextTooLong
from ...core.jsonl import LineLog
from ...core.tasks import for_each
from ...environments.dialogue.view import latest, turns_of
from ...environments.episodes.episode import Episode
from ...environments.episodes.rating import Rating, iter_ratings
from ...evaluation.replies.places import PlacedReply
from ...policies.heads.scorer import RUBRIC, ScorerPolicy
from .data import RealReply, iter_real_replies, judged
from .train import helpful

HELPFUL = "helpful"
"""Dimension of the conjunction."""


async def rate_reply(scorer: ScorerPolicy, real: RealReply) -> list[Rating]:
    """One rating a dimension, and one of them all: 1 if every one holds.

    A reply that is longer than the scorer reads has no values.
    """
    found: dict[str, float | None]
    try:
        found = {**await scorer.judge(judged(real.history, real.reply)[:-1], real.reply)}
    except ContextTooLong:
        found = dict.fromkeys(scorer.dimensions)
    holds = helpful(found)
    values = found | {HELPFUL: None if holds is None else float(holds)}
    return [
        Rating(
            episode=real.episode,
            utterance=place_of(real),
            candidate=real.candidate,
            rater=scorer.id,
            kind="scorer",
            dimension=dimension,
            value=value,
            rubric=RUBRIC,
        )
        for dimension, value in values.items()
    ]


async def rate_episodes(
    scorer: ScorerPolicy,
    episodes: Iterable[Episode],
    file: Path,
    *,
    concurrency: int = 32,
    on_done: Callable[[int], None] = lambda count: None,
) -> None:
    """Rate every reply of a supporter that answers something; see `rate_replies`."""
    await rate_replies(
        scorer, iter_real_replies(episodes), file, concurrency=concurrency, on_done=on_done
    )


def evaluated_replies(replies: Iterable[PlacedReply]) -> list[RealReply]:
    """Replies of `evaluate` as the scorer rates them; the place of each is its turn."""
    return [
        RealReply(
            f"{placed.reply.episode}#{placed.reply.turn}",
            placed.reply.episode,
            placed.reply.episode,
            placed.scenario.problem_type,
            latest(turns_of(placed.history), None),
            placed.text.strip(),
            placed.candidate,
        )
        for placed in replies
    ]


async def rate_replies(
    scorer: ScorerPolicy,
    replies: Iterable[RealReply],
    file: Path,
    *,
    concurrency: int = 32,
    on_done: Callable[[int], None] = lambda count: None,
) -> None:
    """Rate replies; what the file holds is left alone.

    Args:
        scorer: open.
        file: `ratings.jsonl`; a reply's ratings are appended at once.

    Raises:
        PolicyError: the scorer failed; what is finished is in the file.
    """
    with LineLog(file) as log:
        rated = Counter(
            (r.episode, r.utterance, r.candidate)
            for r in iter_ratings(file)
            if r.rater == scorer.id
        )

        async def rate(real: RealReply) -> None:
            ratings = await rate_reply(scorer, real)
            log.write_line("\n".join(r.to_json() for r in ratings), f"ratings of '{real.id}'")
            on_done(1)

        whole = len(scorer.dimensions) + 1  # fewer where a kill came in between
        open_ones = (
            real for real in replies if rated[real.episode, place_of(real), real.candidate] < whole
        )
        await for_each(open_ones, rate, concurrency)


def place_of(real: RealReply) -> int:
    """Index of the reply among the utterances."""
    return int(real.id.rpartition("#")[2])


def rates_of(file: Path, rater: str) -> dict[str, tuple[float | None, int, int]]:
    """By dimension the share of replies of which it holds, how many could be judged, and how many
    could not (a reply or post longer than the scorer reads)."""
    judged_of: Counter[str] = Counter()
    holding: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    for rating in iter_ratings(file):
        if rating.rater != rater:
            continue
        missing[rating.dimension] += rating.value is None
        if rating.value is not None:
            judged_of[rating.dimension] += 1
            holding[rating.dimension] += rating.value >= 0.5
    return {
        name: (holding[name] / count if (count := judged_of[name]) else None, count, lost)
        for name, lost in missing.items()
    }
