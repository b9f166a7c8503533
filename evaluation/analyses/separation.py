"""Whether one corpus differs from another on measures that need no judge.

Each measure gives a number for a dialogue. Two corpora separate on it if dialogues of one tend to
have higher numbers than those of the other beyond chance: Cliff's delta, P(a > b) − P(a < b) for a
random dialogue of each (Cliff 1993), with a bootstrap interval, and the Mann-Whitney test with
Holm's correction over all measures. A dialogue for which a measure has no meaning is missing.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ...agents.roles import Role, Strategy
from ...core.errors import MissingExtra
from ...environments.episodes.shares import wilson
from ..statistics.paired import holm
from ..statistics.uncertainty import tells
from .corpus import Dialogue
from .profile import INTERVALS, interval_of
from .text import words

Size = Literal["negligible", "small", "medium", "large"]

ALPHA = 0.05
RESAMPLES = 1_000
NUMBERS_AT_ONCE = 2_000_000
"""Numbers kept in memory at once while resampling."""
SIZES: tuple[tuple[float, Size], ...] = (
    (0.147, "negligible"),
    (0.33, "small"),
    (0.474, "medium"),
)
"""Bounds of |delta| and their names (Romano et al. 2006); above them it is large."""

LARGE: Size = "large"

Measure = Callable[[Dialogue], float | None]

_THANKS = re.compile(r"\bthank|\bthx\b|\bappreciate", re.I)
_CLOSING_TURNS = 2
_COMMON_WORDS = """
a about all am an and are as at be been but by can could did do does for from get had
has have he her him his how i if in is it it's i'm just like me my no not of oh ok on
or our really she so some that that's the their them then there they this to up us was
we were what when which who will with would yes you your you're
"""
_COMMON = frozenset(_COMMON_WORDS.split())
"""Function words, which say nothing about whose words are taken up."""


@dataclass(frozen=True, slots=True)
class Separation:
    """Two corpora on one measure.

    Attributes:
        measure: its name; `MEASURES` says what it counts.
        n_a, n_b: dialogues with a value; missing_a, missing_b: without.
        mean_a, mean_b: means over those.
        delta: Cliff's delta, above 0 where A is higher; None where one side has no value.
        low, high: 95 % percentile bootstrap interval of delta, Wilson's where the sides do not
            overlap at all; None where every value of both is the same.
        p: Mann-Whitney, two-sided, Holm-corrected over all measures of the comparison.
        size: name of |delta|.
        separates: p below 0.05 and an interval without 0.
    """

    measure: str
    n_a: int
    n_b: int
    missing_a: int
    missing_b: int
    mean_a: float | None = None
    mean_b: float | None = None
    delta: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    size: Size | None = None
    separates: bool = False


def separation(
    a: Sequence[Dialogue],
    b: Sequence[Dialogue],
    *,
    measures: Mapping[str, Measure] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[Separation]:
    """Compare two samples of dialogues on every measure; the largest effects first.

    Raises:
        MissingExtra: scipy is not installed.
    """
    measures = MEASURES if measures is None else measures
    raw = {name: (_values(measure, a), _values(measure, b)) for name, measure in measures.items()}
    tested = {name: _p_value(x, y) for name, (x, y) in raw.items() if len(x) and len(y)}
    corrected = holm(tested)
    generator = np.random.default_rng(seed)
    found = [
        _separation(name, x, y, len(a), len(b), corrected.get(name), generator, resamples)
        for name, (x, y) in raw.items()
    ]
    return sorted(found, key=lambda s: (not s.separates, -abs(s.delta or 0.0), s.measure))


def verdict(name_a: str, name_b: str, found: Sequence[Separation]) -> str:
    """One sentence that says on how many measures two corpora separate, or that none does."""
    apart = [s for s in found if s.separates]
    if not apart:
        return (
            f"{name_a} and {name_b} do not separate: none of {len(found)} measures differs beyond"
            " chance."
        )
    sizes = {"negligible": 0, "small": 0, "medium": 0, "large": 0}
    for each in apart:
        sizes[each.size or "negligible"] += 1
    counted = ", ".join(f"{count} {size}" for size, count in reversed(sizes.items()) if count)
    return (
        f"{name_a} and {name_b} separate on {len(apart)} of {len(found)} measures"
        f" ({counted}); most on {apart[0].measure} (Cliff's delta {apart[0].delta:+.2f})."
    )


def cliffs_delta(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """P(a > b) − P(a < b) over all pairs. Of (1, 3) against (2, 2): 2 of 4 above, 2 below: 0."""
    counts_a, counts_b = _counted(np.asarray(a, float), np.asarray(b, float))
    return float(_deltas(counts_a[None], counts_b[None])[0])


def _values(measure: Measure, dialogues: Sequence[Dialogue]) -> npt.NDArray[np.float64]:
    return np.array([v for d in dialogues if (v := measure(d)) is not None], dtype=float)


def _p_value(x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]) -> float:
    try:
        from scipy.stats import mannwhitneyu
    except ImportError:
        raise MissingExtra("the comparison of two corpora", extra="eval") from None
    if np.all(np.concatenate((x, y)) == x[0]):
        return 1.0  # one value everywhere: nothing to rank
    return float(mannwhitneyu(x, y).pvalue)


def _separation(
    name: str,
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    dialogues_a: int,
    dialogues_b: int,
    p: float | None,
    generator: np.random.Generator,
    resamples: int,
) -> Separation:
    head = Separation(name, len(x), len(y), dialogues_a - len(x), dialogues_b - len(y))
    if p is None:
        return head
    counts_x, counts_y = _counted(x, y)
    delta = float(_deltas(counts_x[None], counts_y[None])[0])
    block = max(1, NUMBERS_AT_ONCE // len(counts_x))
    draws = np.concatenate(
        [
            _deltas(
                generator.multinomial(len(x), counts_x / len(x), size=size),
                generator.multinomial(len(y), counts_y / len(y), size=size),
            )
            for size in (min(block, resamples - start) for start in range(0, resamples, block))
        ]
    )
    low, high = _ends(draws, delta, min(len(x), len(y)))
    return dataclasses.replace(
        head,
        mean_a=float(x.mean()),
        mean_b=float(y.mean()),
        delta=delta,
        low=low,
        high=high,
        p=p,
        size=next((size for bound, size in SIZES if abs(delta) < bound), LARGE),
        separates=p < ALPHA and low is not None and high is not None and not low <= 0 <= high,
    )


def _ends(
    draws: npt.NDArray[np.float64], delta: float, smaller: int
) -> tuple[float | None, float | None]:
    """The 95 % interval of delta.

    Where one side lies wholly above the other every draw is 1 or -1, which proves nothing of the
    next dialogue: there it is Wilson's for P(a > b), 2 P - 1 as delta, with as many trials as the
    smaller side has dialogues.
    """
    if tells(draws):
        low, high = (float(value) for value in np.quantile(draws, (0.025, 0.975)))
        return low, high
    if abs(delta) < 1:
        return None, None
    below, above = wilson(smaller * (delta + 1) / 2, smaller)
    return (None, None) if below is None or above is None else (2 * below - 1, 2 * above - 1)


def _counted(
    x: npt.NDArray[np.float64], y: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """How often each side has each of the distinct values of both, in their order."""
    values, codes = np.unique(np.concatenate((x, y)), return_inverse=True)
    size = len(values)
    return np.bincount(codes[: len(x)], minlength=size), np.bincount(
        codes[len(x) :], minlength=size
    )


def _deltas(
    counts_a: npt.NDArray[np.intp], counts_b: npt.NDArray[np.intp]
) -> npt.NDArray[np.float64]:
    """Cliff's delta for each row of counts, `(draws, values)`."""
    upto = np.cumsum(counts_b, axis=1)
    total = upto[:, -1:]
    above = (counts_a * (upto - counts_b)).sum(axis=1)
    below = (counts_a * (total - upto)).sum(axis=1)
    deltas: npt.NDArray[np.float64] = (above - below) / (counts_a.sum(axis=1) * total[:, 0])
    return deltas


# The measures


def _utterances(dialogue: Dialogue) -> float | None:
    return float(len(dialogue.turns))


def _words_each(role: Role) -> Measure:
    def measure(dialogue: Dialogue) -> float | None:
        turns = dialogue.of(role)
        return sum(len(t.text.split()) for t in turns) / len(turns) if turns else None

    return measure


def _seeker_share(dialogue: Dialogue) -> float | None:
    said = {role: sum(len(t.text.split()) for t in dialogue.of(role)) for role in Role}
    total = sum(said.values())
    return said[Role.SEEKER] / total if total else None


def _asking(dialogue: Dialogue) -> float | None:
    turns = dialogue.of(Role.SUPPORTER)
    return sum("?" in t.text or "？" in t.text for t in turns) / len(turns) if turns else None


def _last_asking(dialogue: Dialogue) -> float | None:
    """JudgePrompts in the last third: a supporter who still explores has not begun to help."""
    late = dialogue.turns[len(dialogue.turns) * 2 // 3 :]
    turns = [turn for turn in late if turn.role == Role.SUPPORTER]
    return sum("?" in t.text or "？" in t.text for t in turns) / len(turns) if turns else None


def _uptake(dialogue: Dialogue) -> float | None:
    """Of the content words of what the seeker just said, the share that the supporter takes up."""
    shares = []
    for before, turn in zip(dialogue.turns, dialogue.turns[1:], strict=False):
        if before.role == Role.SEEKER and turn.role == Role.SUPPORTER:
            said = set(words(before.text)) - _COMMON
            said = {word for word in said if word[0].isalpha()}
            if said:
                shares.append(len(said & set(words(turn.text))) / len(said))
    return sum(shares) / len(shares) if shares else None


def _thanks(dialogue: Dialogue) -> float | None:
    turns = dialogue.of(Role.SEEKER)[-_CLOSING_TURNS:]
    return float(any(_THANKS.search(t.text) for t in turns)) if turns else None


def _variety(dialogue: Dialogue) -> float | None:
    """Different words over the square root of all words (Guiraud), of the supporter."""
    said = [w for t in dialogue.of(Role.SUPPORTER) for w in words(t.text) if w[0].isalnum()]
    return len(set(said)) / len(said) ** 0.5 if said else None


def _seeker_growth(dialogue: Dialogue) -> float | None:
    """Words of a seeker utterance in the second half over both halves: above 0.5 they say more."""
    halves: tuple[list[int], list[int]] = ([], [])
    for index, turn in enumerate(dialogue.turns):
        if turn.role == Role.SEEKER:
            late = interval_of(index, len(dialogue.turns)) >= INTERVALS // 2
            halves[late].append(len(turn.text.split()))
    if not all(halves):
        return None
    early, late_words = (sum(half) / len(half) for half in halves)
    return late_words / (early + late_words) if early + late_words else None


def _distinct_strategies(dialogue: Dialogue) -> float | None:
    labels = {strategy for turn in dialogue.turns for strategy in turn.strategies}
    return float(len(labels)) if labels else None


def _strategy_share(strategy: Strategy) -> Measure:
    def measure(dialogue: Dialogue) -> float | None:
        labels = [each for turn in dialogue.turns for each in turn.strategies]
        return labels.count(strategy) / len(labels) if labels else None

    return measure


MEASURES: dict[str, Measure] = {
    "utterances": _utterances,
    "words a seeker utterance": _words_each(Role.SEEKER),
    "words a supporter utterance": _words_each(Role.SUPPORTER),
    "seeker's share of the words": _seeker_share,
    "seeker's growth": _seeker_growth,
    "supporter turns that ask": _asking,
    "supporter turns that ask, last third": _last_asking,
    "uptake of the seeker's words": _uptake,
    "supporter's variety of words": _variety,
    "seeker thanks at the end": _thanks,
    "distinct strategies": _distinct_strategies,
    **{f"share of {s.value}": _strategy_share(s) for s in Strategy},
}
"""Measures of a dialogue. Thanks and uptake know English only."""
