"""A judge over a whole run, from settings to results: what `warmline judge` does except
printing."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ...core.errors import ConfigError
from ...environments.episodes.log import iter_episodes, read_episodes
from ...environments.episodes.rating import RATINGS_NAME, RatedValues, Rating, iter_ratings
from ...policies.base import Policy, close_policy
from ...policies.registry import make_policy
from ..statistics.uncertainty import estimate_mean, estimate_share
from .asking import JudgeTally, OnRating, shown_first
from .judge import draw_subjects, judge
from .pairwise import WinRate, compare, episode_pairs, win_rates
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
    """

    out: Path
    rubric: Rubric
    tally: JudgeTally
    scores: list[MeanScore]
    wins: list[WinRate]

    @property
    def unreadable(self) -> bool:
        """Whether there are verdicts, and none of them could be read."""
        counts = [each.n for each in self.scores] + [each.n for each in self.wins]
        return bool(counts) and not any(counts)

    def as_dict(self) -> dict[str, Any]:
        """As plain data."""
        results = [dataclasses.asdict(each) for each in (self.scores or self.wins)]
        return {"ratings": str(self.out), **self.tally.as_dict(), "results": results}


async def judge_run(
    run: str | Path,
    settings: JudgeSettings,
    *,
    policy: Policy | None = None,
    observe: OnRating | None = None,
    stop: asyncio.Event | None = None,
) -> JudgeResult:
    """Judge a run's replies or conversations, or compare its conversations with another run's.

    The same call again asks only what is missing.

    Args:
        run: a run's folder or a log file.
        settings: the judge, the rubric and the file of ratings.
        policy: the judge, in place of the one that the settings name; closed by the caller.
        observe: called with each new rating.
        stop: once set, no new question is asked and those in flight are finished.

    Raises:
        ConfigError: no judge is named, or settings that exclude each other.
        Interrupted: `stop` was set.
        WarmlineError: see `judge`.
    """
    rubric = _rubric_of(settings, ready=policy is not None)
    run, out = Path(run), _place(Path(run), settings)
    used = policy
    if used is None:
        used = make_policy(settings.policy or "", **settings.policy_options())
    how: dict[str, Any] = {
        name: getattr(settings, name)
        for name in ("dimensions", "samples", "concurrency", "seed", "rater")
    }
    how |= {"out": out, "sampling": settings.sampling(), "observe": observe, "stop": stop}
    try:
        if settings.against:
            tally = await _compare(run, settings, used, rubric, how)
        else:
            only = None
            if settings.contexts:
                only = draw_subjects(iter_episodes(run), rubric, settings.contexts, settings.seed)
            tally = await judge(iter_episodes(run), used, rubric, only=only, **how)
    finally:
        if policy is None:
            await close_policy(used)
    ratings = (
        r
        for r in (iter_ratings(out) if out.is_file() else ())
        if (r.rubric, r.rater) == (rubric.id, tally.rater)
        and (settings.against is None or r.candidate == _candidate(run, settings))
    )
    return JudgeResult(
        out,
        rubric,
        tally,
        scores=[] if settings.against else mean_scores(ratings, scale=rubric.scale),
        wins=win_rates(ratings) if settings.against else [],
    )


def _rubric_of(settings: JudgeSettings, *, ready: bool) -> Rubric:
    """The rubric, once it is clear that the settings can be used."""
    if settings.policy is None and not ready:
        raise ConfigError("no judge is named", hint="give --policy, such as --policy openai")
    if settings.against and settings.contexts:
        raise ConfigError("--contexts draws from one run; with --against all pairs are compared")
    rubric = load_rubric(settings.rubric or ("dialogue" if settings.against else "response"))
    if settings.against and rubric.subject != "episode":
        raise ConfigError(
            f"whole conversations are compared, and rubric '{rubric.name}' is about replies",
            hint="leave --rubric out, or give one with subject = 'episode'",
        )
    return rubric


async def _compare(
    run: Path, settings: JudgeSettings, policy: Policy, rubric: Rubric, how: dict[str, Any]
) -> JudgeTally:
    other = settings.against or ""
    pairs = episode_pairs(read_episodes(run), read_episodes(other))
    if (first := next(pairs, None)) is None:
        raise ConfigError(
            f"no conversation of {run} has a partner in {other}",
            hint="partners have the same id: let both runs play the same scenarios",
        )
    return await compare(
        chain([first], pairs), policy, rubric, candidate=_candidate(run, settings), **how
    )


def _candidate(run: Path, settings: JudgeSettings) -> str:
    return f"{run} against {settings.against}"


def _place(run: Path, settings: JudgeSettings) -> Path:
    if settings.out is not None:
        return Path(settings.out)
    folder = run if run.is_dir() else run.parent
    return folder / (COMPARISONS_NAME if settings.against else RATINGS_NAME)


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
