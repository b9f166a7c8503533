"""How far a judge, or a trained scorer, agrees with people, and what biases it.

For each dimension, over the subjects that both the judge and at least one person rated: Pearson and
Spearman correlation, quadratic kappa, the mean difference, and the length bias: by how much the
judge's score exceeds the people's for a reply that is longer by one standard deviation. The
position bias needs pairs of texts; see `win_rates`.

Samples of the judge, and several people's ratings, are averaged first. On averages quadratic kappa
has its usual meaning, one minus the squared differences over those expected by chance, and equals
Lin's concordance coefficient. Intervals resample episodes.

A scorer answers 0 or 1. Where people do too, Pearson's r is the phi coefficient and kappa is Cohen's;
where people score on another scale, only the correlations compare, unless `holds` says from which
score on a dimension holds for people.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from ...core.errors import ConfigError
from ...environments.episodes.episode import Episode
from ...environments.episodes.rating import Rating
from ..statistics.uncertainty import Interval, Tally, bootstrap
from .asking import shown_first
from .rubric import rubric_id

MIN_SUBJECTS = 30
"""Fewer subjects say little: at 30, a correlation of 0.5 has an interval of about ±0.28."""
MAX_HALF_WIDTH = 0.2
"""An interval is called wide if half its width exceeds this."""

Floats = NDArray[np.float64]
Place = tuple[str, int | None, str]


@dataclass(frozen=True, slots=True)
class Figure:
    """A value and its bootstrap interval; None where it is undefined."""

    value: float | None
    interval: Interval | None


NOTHING = Figure(None, None)
APART = (
    "the scorer answers 0 or 1 and people scored on another scale: kappa, difference and length bias"
    " need one scale; --holds 4 counts people's scores from 4 on as 1"
)


@dataclass(frozen=True, slots=True)
class Calibration:
    """A judge against people on one dimension.

    Attributes:
        n: subjects that both rated.
        judge_missing: subjects rated by people for which the judge has no readable value.
        people_missing: subjects rated by the judge that no person rated.
        people: mean number of people a subject.
        pearson, spearman, kappa: agreement. Spearman's interval keeps the ranks of the whole. No
            correlation has an interval over two or three subjects, nor one of exactly 1 or -1.
        difference: mean of judge minus people.
        length_slope: points of (judge − people) for one standard deviation of length.
        lengths_missing: subjects among `n` whose length is not known.
        advice: warnings about these figures, in words.
    """

    dimension: str
    n: int
    judge_missing: int
    people_missing: int
    people: float | None
    pearson: Figure
    spearman: Figure
    kappa: Figure
    difference: Figure
    length_slope: Figure
    lengths_missing: int
    advice: tuple[str, ...]

    @property
    def length_bias(self) -> bool | None:
        """Whether length biases the judge compared with people; None where it cannot be decided."""
        interval = self.length_slope.interval
        return None if interval is None else not interval.low <= 0 <= interval.high


def lengths_of(episodes: Iterable[Episode]) -> dict[Place, float]:
    """Words of every utterance, and of every whole episode."""
    found: dict[Place, float] = {}
    for episode in episodes:
        words = [len(u.text.split()) for u in episode.utterances]
        found[(episode.id, None, "")] = float(sum(words))
        for index, count in enumerate(words):
            found[(episode.id, index, "")] = float(count)
    return found


def calibrate(
    judge: Iterable[Rating],
    people: Iterable[Rating],
    *,
    lengths: Mapping[Place, float] | None = None,
    holds: float | None = None,
    resamples: int = 1_000,
    seed: int = 0,
) -> list[Calibration]:
    """Compare a judge's or scorer's ratings with people's, dimension by dimension.

    Only ratings of kind `human` count as people's; comparisons are left aside.

    Args:
        judge: of one judge and one rubric.
        people: of any number of people.
        lengths: in words, by (episode, utterance, candidate); see `lengths_of`.
        holds: people's scores from this on count as 1 and others as 0, for a scorer; each person's
            by itself.
        resamples: bootstrap resamples.
        seed: of the resamples.

    Raises:
        ConfigError: the judge's ratings come from several raters or rubrics.
    """
    scores = [r for r in judge if r.kind != "human" and shown_first(r) is None]
    sources = sorted({(r.rater, r.rubric) for r in scores})
    by_dimension = {(r.dimension, r.rater, r.rubric) for r in scores}
    dimensions = {r.dimension for r in scores}
    whole = {(r.rater, rubric_id(r.rubric)) for r in scores}
    if len(whole) > 1 or len(by_dimension) > len(dimensions):
        raise ConfigError(
            "one judge is calibrated at a time; here are "
            + "; ".join(f"'{who}' with {what or 'no rubric'}" for who, what in sources),
            hint="choose one with --rater and --rubric (its name is enough)",
        )
    yes_or_no = all(r.kind == "scorer" for r in scores)
    if holds is not None and not yes_or_no:
        raise ConfigError(
            "holds turns people's scores into yes or no, and this judge gives scores",
            hint="leave it out; it is for the ratings of a scorer",
        )
    by_judge = _by_dimension(scores)
    by_people = _by_dimension(_held(r, holds) for r in people if r.kind == "human")
    return [
        _calibrate(
            name, by_judge[name], by_people[name], lengths or {}, resamples, seed, binary=yes_or_no
        )
        for name in by_judge
        if name in by_people
    ]


def _held(rating: Rating, holds: float | None) -> Rating:
    """A person's score as yes or no."""
    if holds is None or rating.value is None:
        return rating
    return rating.model_copy(update={"value": float(rating.value >= holds)})


def _by_dimension(ratings: Iterable[Rating]) -> dict[str, dict[Place, list[float | None]]]:
    found: dict[str, dict[Place, list[float | None]]] = {}
    for r in ratings:
        if shown_first(r) is None:
            place = (r.episode, r.utterance, r.candidate)
            found.setdefault(r.dimension, {}).setdefault(place, []).append(r.value)
    return found


def _known(values: Sequence[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _calibrate(
    dimension: str,
    judge: Mapping[Place, list[float | None]],
    people: Mapping[Place, list[float | None]],
    lengths: Mapping[Place, float],
    resamples: int,
    seed: int,
    *,
    binary: bool,
) -> Calibration:
    rated = [place for place in people if _known(people[place])]
    both = [place for place in rated if _known(judge.get(place, []))]
    x = np.array([fmean(_known(judge[place])) for place in both])
    y = np.array([fmean(_known(people[place])) for place in both])
    groups = [place[0] for place in both]
    tallies = {
        "pearson": moments(x, y, _pearson),
        "spearman": moments(_ranks(x), _ranks(y), _pearson),
        "kappa": moments(x, y, _concordance),
        "difference": moments(x, y, _difference),
    }
    intervals = bootstrap(tallies, groups=groups, resamples=resamples, seed=seed)
    figures = {name: Figure(tally.value, intervals[name]) for name, tally in tallies.items()}
    apart = binary and bool(len(y)) and bool(y.max() > 1 or y.min() < 0)
    if apart:  # 0 and 1 against another scale: only correlations compare
        figures |= dict.fromkeys(("kappa", "difference"), NOTHING)
    measured = [index for index, place in enumerate(both) if place in lengths]
    slope = (
        NOTHING
        if apart
        else _length_slope(
            np.array([lengths[both[index]] for index in measured]),
            x[measured] - y[measured],
            [groups[index] for index in measured],
            resamples,
            seed,
        )
    )
    return Calibration(
        dimension=dimension,
        n=len(both),
        judge_missing=len(rated) - len(both),
        people_missing=sum(place not in people for place in judge),
        people=fmean(len(_known(people[place])) for place in both) if both else None,
        pearson=figures["pearson"],
        spearman=figures["spearman"],
        kappa=figures["kappa"],
        difference=figures["difference"],
        length_slope=slope,
        lengths_missing=len(both) - len(measured),
        advice=_advice(len(both), figures["pearson"]) + ((APART,) if apart else ()),
    )


def moments(x: Floats, y: Floats, of: Callable[[Floats], Floats]) -> Tally:
    """A figure of means of x, y, x², y² and xy, `(subjects, 6)`; x and y centred, which changes no
    figure here but keeps the sums exact."""
    shift = float(y.mean()) if len(y) else 0.0
    x, y = x - shift, y - shift
    return Tally(np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1), of)


def _means(sums: Floats) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """Means of x and y, both variances (of the population), and the covariance."""
    with np.errstate(invalid="ignore", divide="ignore"):
        x, y, xx, yy, xy = (sums[..., column] / sums[..., 0] for column in range(1, 6))
    return x, y, xx - x * x, yy - y * y, xy - x * y


TINY = 1e-12


def _pearson(sums: Floats) -> Floats:
    """NaN where one side does not vary."""
    _, _, varx, vary, both = _means(sums)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(
            (varx > TINY) & (vary > TINY), both / np.sqrt(np.abs(varx * vary)), np.nan
        )
    return found


def _concordance(sums: Floats) -> Floats:
    """1 − E(x−y)² / (E x² + E y² − 2 E x E y), the quadratic kappa of equally spaced scores."""
    x, y, varx, vary, both = _means(sums)
    chance = varx + vary + (x - y) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(chance > TINY, 2 * both / chance, np.nan)
    return found


def _difference(sums: Floats) -> Floats:
    x, y, _, _, _ = _means(sums)
    return x - y


def _slope(sums: Floats) -> Floats:
    """Of y on x."""
    _, _, varx, _, both = _means(sums)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(varx > TINY, both / varx, np.nan)
    return found


def _ranks(values: Floats) -> Floats:
    """Ranks from 1; equal values share the mean of theirs."""
    _, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: Floats = (ends - (counts - 1) / 2)[codes]
    return ranks


def _length_slope(
    lengths: Floats, excess: Floats, groups: Sequence[str], resamples: int, seed: int
) -> Figure:
    spread = float(lengths.std()) if len(lengths) else 0.0
    if spread <= TINY:
        return Figure(None, None)
    tally = moments((lengths - lengths.mean()) / spread, excess, _slope)
    found = bootstrap({"slope": tally}, groups=groups, resamples=resamples, seed=seed)["slope"]
    return Figure(tally.value, found)


def _advice(n: int, pearson: Figure) -> tuple[str, ...]:
    advice = []
    if n < MIN_SUBJECTS:
        advice.append(f"{n} subjects are too few to calibrate on; rate at least {MIN_SUBJECTS}")
    interval = pearson.interval
    if (
        n >= MIN_SUBJECTS
        and interval is not None
        and (interval.high - interval.low) / 2 > MAX_HALF_WIDTH
    ):
        more = math.ceil(n * ((interval.high - interval.low) / 2 / MAX_HALF_WIDTH) ** 2)
        advice.append(
            f"the correlation is known to ±{MAX_HALF_WIDTH} only with about {more} subjects"
        )
    if n and pearson.value is None:
        advice.append("the judge or the people gave the same score to every subject")
    return tuple(advice)
