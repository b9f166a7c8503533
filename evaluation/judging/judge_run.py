"""A judge over a whole run, from settings to results: what `warmline judge` does except
printing."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from ...core.errors import ConfigError
from ...environments.episodes.episode import Episode
from ...environments.episodes.log import iter_episodes, read_episodes
from ...environments.episodes.rating import RATINGS_NAME, RatedValues, Rating, iter_ratings
from ...environments.episodes.sides import place_of
from ...environments.shards.parts import Parts
from ...policies.base import Policy, close_policy
from ...policies.registry import make_policy
from ..replies.places import PlacedReplies, caveats_of, holds_replies, place_replies
from ..statistics.uncertainty import estimate_mean, estimate_share
from .asking import JudgeTally, OnRating, shown_first
from .judge import draw_subjects, judge
from .pairwise import Pair, WinRate, compare, episode_pairs, reply_pairs, win_rates
from .questions import Subject, reply_subjects
from .rubric import Rubric, load_rubric
from .settings import COMPARISONS_NAME, JudgeSettings


@dataclass(frozen=True, slots=True)
class MeanScore:
    """The mean of one dimension; episodes are the units of the interval."""

    dimension: str
    mean: float | None
    low: float | None
    high: float | None
    n: int
    missing: int


@dataclass(frozen=True, slots=True)
class JudgeResult:
    """What a judge found in a run.

    Attributes:
        out: the file of ratings.
        rubric: what was asked.
        tally: what was asked now, what was there already, and what has no answer.
        scores: means by dimension over all ratings of this judge and rubric in the file; empty
            where conversations were compared.
        wins: win rates by dimension; empty where nothing was compared.
        left_out: of replies, those that were not asked about: without a text or, in a comparison,
            without a partner in reference context.
        caveats: what speaks against the replies, a sentence each; see `caveats_of`.
    """

    out: Path
    rubric: Rubric
    tally: JudgeTally
    scores: list[MeanScore]
    wins: list[WinRate]
    left_out: int = 0
    caveats: tuple[str, ...] = ()

    @property
    def unreadable(self) -> bool:
        """Whether there are verdicts, and none of them could be read."""
        counts = [each.n for each in self.scores] + [each.n for each in self.wins]
        return bool(counts) and not any(counts)

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        results = [dataclasses.asdict(each) for each in (self.scores or self.wins)]
        lost = {"left_out": self.left_out} if self.left_out else {}
        told = {"caveats": list(self.caveats)} if self.caveats else {}
        return {
            "ratings": str(self.out),
            **self.tally.as_dict(),
            **lost,
            **told,
            "results": results,
        }


async def judge_run(
    run: str | Path,
    settings: JudgeSettings,
    *,
    policy: Policy | None = None,
    observe: OnRating | None = None,
    stop: asyncio.Event | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> JudgeResult:
    """Judge a run's replies or conversations, or compare its conversations with another run's.

    Replies of `evaluate` are judged in the same way, with the corpus that was evaluated; compared
    are those of two evaluations to the same history.

    The same call again asks only what is missing.

    Args:
        run: a run's folder or a log file; or an evaluation's folder or its `replies.jsonl`.
        settings: the judge, the rubric and the file of ratings.
        policy: the judge, in place of the one that the settings name; closed by the caller.
        observe: called with each new rating.
        stop: once set, no new question is asked and those in flight are finished.
        say: told what becomes of workers, where there are any.

    Raises:
        ConfigError: no judge is named, or settings that exclude each other.
        Interrupted: `stop` was set.
        WarmlineError: see `judge`.
    """
    run, out = Path(run), _place(Path(run), settings)
    rubric = _rubric_of(run, settings, ready=policy is not None)
    sides = _replies_of(run, settings)  # read before the judge is opened
    if settings.sharded:
        do = partial(_part, run, settings, policy, rubric)
        workers = Parts(do, out.parent / f"{out.stem}-workers", settings, say)
        await workers.run(stop)
    tally, left_out = await _ask(run, settings, policy, rubric, sides, observe=observe, stop=stop)
    ratings = (
        r
        for r in (iter_ratings(out) if out.is_file() else ())
        if (r.rubric, r.rater) == (rubric.id_of(r.dimension), tally.rater)
        and (settings.against is None or r.candidate == _candidate(run, settings))
    )
    return JudgeResult(
        out,
        rubric,
        tally,
        scores=[]
        if settings.against
        else _in_order(mean_scores(ratings, scale=rubric.scale), rubric),
        wins=win_rates(ratings) if settings.against else [],
        left_out=left_out,
        caveats=_caveats(run, settings) if sides else (),
    )


async def _part(
    run: Path,
    settings: JudgeSettings,
    policy: Policy | None,
    rubric: Rubric,
    part: str,
    stop: asyncio.Event,
) -> None:
    """What a worker does."""
    await _ask(run, settings, policy, rubric, _replies_of(run, settings), part=part, stop=stop)


async def _ask(
    run: Path,
    settings: JudgeSettings,
    policy: Policy | None,
    rubric: Rubric,
    sides: list[PlacedReplies],
    **more: Any,
) -> tuple[JudgeTally, int]:
    """Ask what is missing; of replies also how many are not asked about."""
    used = policy
    if used is None:
        used = make_policy(settings.judge.policy or "", **settings.judge.policy_options())
    how: dict[str, Any] = {
        name: getattr(settings, name)
        for name in ("dimensions", "samples", "concurrency", "seed", "rater")
    }
    how |= {"out": _place(run, settings), "sampling": settings.judge.sampling(), **more}
    try:
        left_out = sum(side.missing for side in sides)
        if settings.against:
            pairs: Iterable[Pair] = _pairs(run, settings, sides)
            if sides:
                every = list(pairs)
                left_out = sum(len(s.replies) + s.missing for s in sides) - 2 * len(every)
                pairs = _drawn(every, sides[0], rubric, settings)
            candidate = _candidate(run, settings)
            tally = await compare(pairs, used, rubric, candidate=candidate, **how)
        else:
            only = None
            if settings.limit:
                judged = _judged(run, sides)
                only = draw_subjects(judged, rubric, settings.limit, settings.seed)
            tally = await judge(_judged(run, sides), used, rubric, only=only, **how)
    finally:
        if policy is None:
            await close_policy(used)
    return tally, left_out


def _caveats(run: Path, settings: JudgeSettings) -> tuple[str, ...]:
    """Of the replies that are judged, and of those that they are compared with."""
    return caveats_of(run) + (caveats_of(settings.against) if settings.against else ())


def _rubric_of(run: Path, settings: JudgeSettings, *, ready: bool) -> Rubric:
    """The rubric, once it is clear that the settings can be used."""
    replies = holds_replies(run)
    if settings.judge.policy is None and not ready:
        raise ConfigError(
            "no judge is named", hint="give --judge.policy, such as --judge.policy openai"
        )
    if settings.against and holds_replies(settings.against) is not replies:
        raise ConfigError(
            f"of {run} and {settings.against} one holds replies of `evaluate` and the other does not",
            hint="compare two evaluations, or two runs",
        )
    if settings.corpus and not replies:
        raise ConfigError(
            f"{run} holds conversations, so --corpus would change nothing", hint="leave it out"
        )
    if settings.against and settings.limit and not replies:
        raise ConfigError("--limit draws from one run; with --against all pairs are compared")
    whole = settings.against and not replies
    rubric = load_rubric(settings.rubric or ("dialogue" if whole else "response"))
    if whole and rubric.subject != "episode":
        raise ConfigError(
            f"whole conversations are compared, and rubric '{rubric.name}' is about replies",
            hint="leave --rubric out, or give one with subject = 'episode'",
        )
    if replies and rubric.subject != "utterance":
        raise ConfigError(
            f"{run} holds replies, and rubric '{rubric.name}' is about whole conversations",
            hint="leave --rubric out, or give one with subject = 'utterance'",
        )
    return rubric


def _replies_of(run: Path, settings: JudgeSettings) -> list[PlacedReplies]:
    """The replies of one or two evaluations; none for runs."""
    if not holds_replies(run):
        return []
    sides = [run, *([Path(settings.against)] if settings.against else [])]
    return [place_replies(side, settings.corpus) for side in sides]


def _judged(run: Path, sides: list[PlacedReplies]) -> Iterable[Episode | Subject]:
    return reply_subjects(sides[0].replies) if sides else iter_episodes(run)


def _pairs(run: Path, settings: JudgeSettings, sides: list[PlacedReplies]) -> Iterator[Pair]:
    other = settings.against or ""
    if sides:
        pairs = reply_pairs(sides[0].replies, sides[1].replies)
    else:
        pairs = episode_pairs(read_episodes(run), read_episodes(other))
    if (first := next(pairs, None)) is None:
        what, hint = "conversation", "the same id: let both runs play the same scenarios"
        if sides:
            what, hint = "reply", "the same place in reference context: evaluate one corpus"
        raise ConfigError(
            f"no {what} of {run} has a partner in {other}", hint=f"partners have {hint}"
        )
    return chain([first], pairs)


def _drawn(
    pairs: list[Pair], side: PlacedReplies, rubric: Rubric, settings: JudgeSettings
) -> list[Pair]:
    """As many pairs as `limit` asks for, of the places that `draw_subjects` ranks first."""
    if not settings.limit:
        return pairs
    paired = {(pair.episode, pair.utterance) for pair in pairs}
    places = [s for s in reply_subjects(side.replies) if (s.episode, s.utterance) in paired]
    chosen = draw_subjects(places, rubric, settings.limit, settings.seed)
    return [pair for pair in pairs if (pair.episode, pair.utterance) in chosen]


def _candidate(run: Path, settings: JudgeSettings) -> str:
    return f"{run} against {settings.against}"


def _place(run: Path, settings: JudgeSettings) -> Path:
    if settings.out is not None:
        return Path(settings.out)
    return place_of(run).folder / (COMPARISONS_NAME if settings.against else RATINGS_NAME)


def _in_order(scores: list[MeanScore], rubric: Rubric) -> list[MeanScore]:
    """The dimensions as the rubric has them, whichever was answered first."""
    places = [dimension.name for dimension in rubric.dimensions]
    return sorted(scores, key=lambda score: places.index(score.dimension))


def mean_scores(
    ratings: Iterable[Rating], *, scale: tuple[int, int] | None = None
) -> list[MeanScore]:
    """Means by dimension over ratings of one rater and rubric; comparisons are left aside.

    Args:
        scale: the rubric's; on a scale from 0 to 1 the mean is a share.
    """
    estimate = estimate_share if scale == (0, 1) else estimate_mean
    by_dimension: dict[str, RatedValues] = {}
    for rating in ratings:
        if shown_first(rating) is None:
            by_dimension.setdefault(rating.dimension, RatedValues()).add(rating)
    found = []
    for name, each in by_dimension.items():
        mean = estimate(each.values, groups=each.episodes)
        low = mean.interval.low if mean.interval else None
        high = mean.interval.high if mean.interval else None
        found.append(MeanScore(name, mean.value, low, high, mean.n, mean.missing))
    return found
