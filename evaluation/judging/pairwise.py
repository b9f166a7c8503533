"""Which of two is better: each pair in both orders, win rates with ties, and what the order does.

A comparison is a rating of A against B: 1 where A was found better, -1 where B was, 0 for a tie,
None where the answer could not be read. `notes.first` says which was shown first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...core.errors import ConfigError
from ...environments.episodes.episode import Episode
from ...environments.episodes.rating import Rating
from ...environments.episodes.sequence import ids_of
from ...policies.base import Policy, Request, Sampling
from ..replies.places import PlacedReply
from ..replies.reply import Setting
from ..statistics.uncertainty import Interval, Tally, bootstrap, ratio, share_tally
from .asking import Answer, JudgeTally, OnRating, ask_all, shown_first
from .questions import (
    JudgePrompts,
    PairVerdict,
    Subject,
    about_seeker,
    labelled_transcript,
    read_pair,
    transcript,
    with_strategies,
)
from .rubric import Dimension, Rubric, rubric_id

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
        labelled: history and both texts with the supporters' strategies, for dimensions that show
            them.
        about: who the seeker was to be, likewise; empty where nothing is known.
    """

    episode: str
    utterance: int | None
    history: str
    a: str
    b: str
    labelled: tuple[str, str, str] = ("", "", "")
    about: str = ""


@dataclass(frozen=True, slots=True)
class _Comparison:
    """Asks which text of a pair is better on one dimension, with the text `first` shown first."""

    pair: Pair
    candidate: str
    dimension: Dimension
    sample: int
    first: str

    @property
    def subject(self) -> Subject:
        return Subject(self.pair.episode, self.pair.utterance, "", candidate=self.candidate)

    def request(self, prompts: JudgePrompts, seed: int) -> Request:
        pair, shows = self.pair, self.dimension.shows
        history, a, b = pair.labelled if "strategies" in shows else (pair.history, pair.a, pair.b)
        texts = (b, a) if self.first == "B" else (a, b)
        about = pair.about if "profile" in shows else ""
        return prompts.pair(history, *texts, self.dimension, seed, about=about)

    def read(self, text: str) -> Answer:
        verdict = read_pair(text)
        return Answer(_value(verdict, self.first), verdict.explanation, {"first": self.first})


def episode_pairs(a: Sequence[Episode], b: Sequence[Episode]) -> Iterator[Pair]:
    """Conversations of two runs about the same scenario, in the order of `b`; those without a
    partner, and those that ended in an error, are left out. One pair is read at a time."""
    places = {name: place for place, name in enumerate(ids_of(a))}
    for number, name in enumerate(ids_of(b)):
        if name not in places:
            continue
        one, other = a[places[name]], b[number]
        if all(not e.stop.failed and e.utterances for e in (one, other)):
            yield Pair(
                one.id,
                None,
                "",
                transcript(one.utterances),
                transcript(other.utterances),
                labelled=(
                    "",
                    labelled_transcript(one.utterances),
                    labelled_transcript(other.utterances),
                ),
                about=about_seeker(one.scenario),
            )


def reply_pairs(a: Iterable[PlacedReply], b: Iterable[PlacedReply]) -> Iterator[Pair]:
    """Replies of two evaluations to the same history (SweetieChat section 5.4.2).

    That is those in reference context: in generated context each policy has its own history. Places
    that only one side has a reply for are left out.
    """
    ours = {p.reply.key: p for p in a if p.reply.setting is Setting.REFERENCE}
    for other in b:
        one = ours.get(other.reply.key)
        if one is not None:
            labelled = [with_strategies(p.text, p.strategies) for p in (one, other)]
            yield Pair(
                one.reply.episode,
                one.reply.turn,
                transcript(one.history),
                one.text,
                other.text,
                labelled=(labelled_transcript(one.history), labelled[0], labelled[1]),
                about=about_seeker(one.scenario),
            )


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
    part: str | None = None,
) -> JudgeTally:
    """Ask which of each pair is better on each dimension, in both orders; resumes as `judge` does.

    Both orders have the same seed: only the order differs.

    Args:
        pairs: with distinct (episode, utterance).
        candidate: what was compared, for the ratings: `base against tuned`.
        others: see `judge`.

    Raises:
        ConfigError, DataError, RunError, PolicyError, Interrupted: see `judge`.
    """
    return await ask_all(
        pairs,
        lambda pair, dimension, sample: [
            _Comparison(pair, candidate, dimension, sample, first) for first in "AB"
        ],
        policy,
        rubric,
        out=out,
        dimensions=dimensions,
        samples=samples,
        concurrency=concurrency,
        seed=seed,
        rater=rater,
        sampling=sampling,
        template=template,
        observe=observe,
        stop=stop,
        part=part,
    )


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
        interval: of the rate, Wilson's, with episodes as the units.
        consistent: of the pairs judged in both orders, the share with one and the same verdict.
        first: of the decided single verdicts, the share won by the text shown first. Each pair is
            shown both ways, so a judge that ignores the order has 0.5.
        first_interval: of that share, likewise; a position bias where it leaves 0.5 out.
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
        """Whether the order alone changes verdicts; None where it cannot be decided."""
        if self.first_interval is None:
            return None
        return not self.first_interval.low <= 0.5 <= self.first_interval.high


def win_rates(ratings: Iterable[Rating]) -> list[WinRate]:
    """Win rates of A by dimension, from the comparisons among the ratings.

    Ratings that are not comparisons (no `notes.first`) are left out.

    Raises:
        ConfigError: comparisons of several candidates, raters or rubrics, which no rate can mix.
    """
    kinds: set[tuple[str, str, str]] = set()
    ids: set[tuple[str, str]] = set()
    compared: dict[str, Orders] = {}
    for rating in ratings:
        if shown_first(rating) is not None:
            kinds.add((rating.candidate, rating.rater, rating.rubric))
            ids.add((rating.dimension, rating.rubric))
            _add(rating, compared.setdefault(rating.dimension, {}))
    # one rubric, and of each dimension one identity: what it shows may have changed
    sources = {(candidate, who, rubric_id(what)) for candidate, who, what in kinds}
    if len(sources) > 1 or len(ids) > len(compared):
        raise ConfigError(
            "one win rate cannot be taken over these comparisons: "
            + "; ".join(
                f"'{c}' by '{who}' with {what or 'no rubric'}" for c, who, what in sorted(kinds)
            ),
            hint="choose one rater, rubric and candidate (--rater, --rubric)",
        )
    return [_win_rate(name, pairs) for name, pairs in compared.items()]


Orders = dict[Judged, dict[str, float | None]]
"""The verdicts on each pair by which text was shown first."""


def _add(rating: Rating, pairs: Orders) -> None:
    place = (rating.episode, rating.utterance, rating.sample)
    pairs.setdefault(place, {})[str(shown_first(rating))] = rating.value


def pair_verdicts(ratings: Iterable[Rating]) -> dict[Judged, float | None]:
    """One verdict a pair and sample, from comparisons of one rater on one dimension: 1 for A, -1
    for B, 0 where it is a tie or the orders differ, None where an order could not be read."""
    pairs: Orders = {}
    for rating in ratings:
        _add(rating, pairs)
    return _agreed(pairs)


def _agreed(pairs: Orders) -> dict[Judged, float | None]:
    found: dict[Judged, float | None] = {}
    for place, orders in pairs.items():
        values = list(orders.values())
        same = values[0] if len(set(values)) == 1 else 0.0
        found[place] = None if None in values else same
    return found


def _win_rate(dimension: str, pairs: Orders) -> WinRate:
    verdicts = list(_agreed(pairs).values())
    known = [v for v in verdicts if v is not None]
    groups = [place[0] for place in pairs]
    won = share_tally([None if v is None else (v + 1) / 2 for v in verdicts])
    both = [list(o.values()) for o in pairs.values() if len(o) == 2 and None not in o.values()]
    order = _first_tally(list(pairs.values()))
    found = bootstrap({"rate": won, "first": order}, groups=groups)
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


def _first_tally(pairs: Sequence[dict[str, float | None]]) -> Tally:
    """Of the decided verdicts of pairs shown both ways: those won by the first, and their
    number."""
    rows = np.zeros((len(pairs), 2))
    for row, orders in zip(rows, pairs, strict=True):
        if len(orders) == 2 and None not in orders.values():
            decided = {first: value for first, value in orders.items() if value}
            row[0] = sum((value == 1.0) == (first == "A") for first, value in decided.items())
            row[1] = len(decided)
    return Tally(rows, ratio, share=1.0)
