"""Which of two is better: each pair in both orders, win rates with ties, and what the order does.

A comparison is a rating of A against B: 1 where A was found better, -1 where B was, 0 for a tie, None
where the answer could not be read. `notes.first` says which was shown first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.errors import ConfigError
from ...core.jsonl import LineLog
from ...core.tasks import for_each
from ...environments.episodes.episode import Episode, StopReason
from ...environments.episodes.rating import Rating
from ...policies.base import Policy, Sampling, open_policy, policy_name
from ..statistics.uncertainty import Interval, bootstrap, mean_tally, ratio
from ..statistics.uncertainty import Tally as SumTally
from .judge import OnRating, Tally, ask, check_counts, rated, shown
from .questions import PairVerdict, Questions, Subject, question_seed, read_pair
from .rubric import Dimension, Rubric

Judged = tuple[str, int | None, int]
"""Episode, utterance and sample of a comparison."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Two texts for one place.

    Attributes:
        episode: id of the episode, or of the scenario that both conversations played.
        utterance: index of the utterance that both are candidates for; None for conversations.
        history: what was said before; empty for conversations.
        a, b: the texts.
    """

    episode: str
    utterance: int | None
    history: str
    a: str
    b: str


@dataclass(frozen=True, slots=True)
class _Job:
    pair: Pair
    dimension: Dimension
    sample: int
    first: str


def episode_pairs(a: Iterable[Episode], b: Iterable[Episode]) -> Iterator[Pair]:
    """Conversations of two runs about the same scenario; those without a partner, and those that
    ended in an error, are left out."""
    told = {e.id: e.transcript() for e in a if e.stop is not StopReason.ERROR and e.utterances}
    for episode in b:
        if episode.stop is not StopReason.ERROR and episode.utterances and episode.id in told:
            yield Pair(episode.id, None, "", told[episode.id], episode.transcript())


async def compare(
    pairs: Iterable[Pair],
    policy: Policy,
    rubric: Rubric,
    *,
    out: str | Path,
    candidate: str = "A against B",
    dimensions: tuple[str, ...] = (),
    samples: int = 1,
    concurrency: int = 8,
    seed: int = 0,
    rater: str | None = None,
    sampling: Sampling | None = None,
    template: str | Path | None = None,
    observe: OnRating | None = None,
    stop: asyncio.Event | None = None,
) -> Tally:
    """Ask which of each pair is better on each dimension, in both orders; resumes as `judge` does.

    Both orders have the same seed, so that nothing but the order differs.

    Args:
        pairs: with distinct (episode, utterance).
        candidate: what was compared, for the ratings: `base against tuned`.
        others: see `judge`.

    Raises:
        ConfigError, DataError, RunError, PolicyError, Interrupted: see `judge`.
    """
    chosen = rubric.only(dimensions)
    check_counts(samples, concurrency)
    name = rater or policy_name(policy)
    questions = Questions(policy, rubric, sampling=sampling, template=template)
    tally = Tally(name)
    done: set[tuple[Hashable, ...]] = set()

    def jobs() -> Iterator[_Job]:
        for pair in pairs:
            for dimension in chosen:
                for sample in range(samples):
                    for first in "AB":
                        key = (pair.episode, pair.utterance, candidate, dimension.name, sample)
                        if (*key, name, rubric.id, first) in done:
                            tally.resumed += 1
                        else:
                            yield _Job(pair, dimension, sample, first)

    async def work(job: _Job) -> None:
        pair, dimension = job.pair, job.dimension
        place = Subject(pair.episode, pair.utterance, "", candidate=candidate)
        texts = (pair.a, pair.b) if job.first == "A" else (pair.b, pair.a)
        request = questions.pair(
            pair.history, *texts, dimension, question_seed(seed, place, dimension.name, job.sample)
        )
        answer = await ask(policy, request, tally)
        if answer is None:
            return
        reply, error = answer
        verdict = read_pair(reply.text if reply else "")
        notes = {"first": job.first}
        if verdict.better is None:
            notes |= {"error": error} if error else {"answer": reply.text if reply else ""}
        rating = Rating(
            episode=pair.episode,
            utterance=pair.utterance,
            candidate=candidate,
            rater=name,
            kind="judge",
            dimension=dimension.name,
            value=_value(verdict, job.first),
            explanation=verdict.explanation,
            rubric=rubric.id,
            sample=job.sample,
            notes=notes,
        )
        log.write_line(rating.to_json(), f"a rating of episode '{rating.episode}'")
        tally.add(rating)
        if observe is not None:
            observe(rating)

    with LineLog(out) as log:
        done.update(rated(out))
        await open_policy(policy)
        await for_each(jobs(), work, concurrency, stop)
    return tally


def _value(verdict: PairVerdict, first: str) -> float | None:
    if verdict.better is None:
        return None
    if verdict.better == "tie":
        return 0.0
    return 1.0 if (verdict.better == "first") == (first == "A") else -1.0


@dataclass(frozen=True, slots=True)
class WinRate:
    """A against B on one dimension.

    Attributes:
        n: pairs with a verdict. Where both orders are there, A or B wins only if both agree;
            anything else is a tie.
        wins, ties, losses: of A.
        missing: pairs without a readable verdict in some order.
        rate: (wins + ties / 2) / n; 0.5 says that neither is better.
        interval: of the rate, episodes resampled.
        consistent: of the pairs judged in both orders, the share with one and the same verdict.
        first: of the decided single verdicts, the share won by the text shown first. Each pair is
            shown both ways, so a judge that does not mind the order has 0.5.
        first_interval: of that share, episodes resampled; a position bias where it leaves 0.5 out.
        both_orders: pairs judged in both orders.
    """

    dimension: str
    n: int
    wins: int
    ties: int
    losses: int
    missing: int
    rate: float | None
    interval: Interval | None
    consistent: float | None
    first: float | None
    first_interval: Interval | None
    both_orders: int

    @property
    def position_bias(self) -> bool | None:
        """Whether the order alone moves verdicts; None where it cannot be told."""
        if self.first_interval is None:
            return None
        return not self.first_interval.low <= 0.5 <= self.first_interval.high


def win_rates(ratings: Iterable[Rating], *, seed: int = 0) -> list[WinRate]:
    """Win rates of A by dimension, from the comparisons among the ratings.

    Ratings that are no comparison (no `notes.first`) are left aside.

    Raises:
        ConfigError: comparisons of several candidates, raters or rubrics, which no rate can mix.
    """
    comparisons = [rating for rating in ratings if shown(rating) is not None]
    kinds = {(r.candidate, r.rater, r.rubric) for r in comparisons}
    if len(kinds) > 1:
        raise ConfigError(
            "these comparisons cannot be one win rate: "
            + "; ".join(
                f"'{c}' by '{who}' with {what or 'no rubric'}" for c, who, what in sorted(kinds)
            ),
            hint="choose one rater, rubric and candidate (--rater, --rubric)",
        )
    dimensions = list(dict.fromkeys(r.dimension for r in comparisons))
    return [
        _win_rate(name, [r for r in comparisons if r.dimension == name], seed)
        for name in dimensions
    ]


def _by_order(ratings: Iterable[Rating]) -> dict[Judged, dict[str, float | None]]:
    """The verdicts on each pair by which text was shown first."""
    pairs: dict[Judged, dict[str, float | None]] = {}
    for rating in ratings:
        place = (rating.episode, rating.utterance, rating.sample)
        pairs.setdefault(place, {})[str(shown(rating))] = rating.value
    return pairs


def pair_verdicts(ratings: Iterable[Rating]) -> dict[Judged, float | None]:
    """One verdict a pair and sample, from comparisons of one rater on one dimension: 1 for A, -1 for
    B, 0 where it is a tie or the orders differ, None where an order could not be read."""
    found: dict[Judged, float | None] = {}
    for place, orders in _by_order(ratings).items():
        values = list(orders.values())
        same = values[0] if len(set(values)) == 1 else 0.0
        found[place] = None if None in values else same
    return found


def _win_rate(dimension: str, ratings: Sequence[Rating], seed: int) -> WinRate:
    pairs = _by_order(ratings)
    verdicts = list(pair_verdicts(ratings).values())
    known = [v for v in verdicts if v is not None]
    groups = [place[0] for place in pairs]
    won = mean_tally([None if v is None else (v + 1) / 2 for v in verdicts])
    both = [list(o.values()) for o in pairs.values() if len(o) == 2 and None not in o.values()]
    order = _first_tally(list(pairs.values()))
    found = bootstrap({"rate": won, "first": order}, groups=groups, seed=seed)
    return WinRate(
        dimension=dimension,
        n=len(known),
        wins=known.count(1.0),
        ties=known.count(0.0),
        losses=known.count(-1.0),
        missing=len(verdicts) - len(known),
        rate=won.value,
        interval=found["rate"],
        consistent=sum(x == y for x, y in both) / len(both) if both else None,
        first=order.value,
        first_interval=found["first"],
        both_orders=len(both),
    )


def _first_tally(pairs: Sequence[dict[str, float | None]]) -> SumTally:
    """Of the decided verdicts of pairs shown both ways: those won by the first, and their number."""
    rows = np.zeros((len(pairs), 2))
    for row, orders in zip(rows, pairs, strict=True):
        if len(orders) == 2 and None not in orders.values():
            decided = {first: value for first, value in orders.items() if value}
            row[0] = sum((value == 1.0) == (first == "A") for first, value in decided.items())
            row[1] = len(decided)
    return SumTally(rows, ratio)
