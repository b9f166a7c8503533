"""Relevance of replies to what the user said, and how alike both sides of a pair are: TF-IDF cosine
(Self-Evolution §5.2, figures 5a and 5b).

The paper does not name its measure; this one is scikit-learn's `TfidfVectorizer` with its defaults,
in a few lines, so that training needs no further library.
"""

from __future__ import annotations

import math
import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, quantiles

MEASURE = "tfidf-cosine"
_WORD = re.compile(r"\b\w\w+\b")

Vector = Mapping[str, float]
BINS = 20
"""Equal parts of [0, 1] in a distribution."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A distribution of cosines.

    Attributes:
        p10, p25, median, p75, p90: quantiles, interpolated linearly.
        histogram: share of the pairs in each of `BINS` equal parts of [0, 1]; 1 is in the last.
    """

    mean: float
    p10: float
    p25: float
    median: float
    p75: float
    p90: float
    histogram: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Relevance:
    """How much replies have to do with what the user said (Self-Evolution §5.2, figure 5a).

    Attributes:
        measure: name of the similarity.
        pairs: how many were compared.
        chosen, rejected: mean similarity, in [0, 1]; None without pairs.
        chosen_higher: share of the pairs in which the chosen reply is the more similar one.
        distributions: of the similarity to what the user said of `chosen` and `rejected`, and as
            `alike` of the similarity of chosen and rejected to each other; empty without pairs.
    """

    measure: str
    pairs: int
    chosen: float | None
    rejected: float | None
    chosen_higher: float | None
    distributions: Mapping[str, Spread] = field(default_factory=dict)


def relevance(texts: Callable[[], Iterable[tuple[str, str, str]]]) -> Relevance:
    """Similarity of the replies to what was heard, pair by pair.

    Weights of words are fitted on all the texts together.

    Args:
        texts: gives for each pair what the user had said, the chosen and the rejected reply; called
            twice, so that nothing has to be held.
    """
    weights = inverse_frequencies(text for three in texts() for text in three)
    good, poor, alike = array("d"), array("d"), array("d")
    for heard, chosen, rejected in texts():
        user, liked, other = (vector(text, weights) for text in (heard, chosen, rejected))
        good.append(cosine(user, liked))
        poor.append(cosine(user, other))
        alike.append(cosine(liked, other))
    if not good:
        return Relevance(MEASURE, 0, None, None, None)
    higher = fmean(g > p for g, p in zip(good, poor, strict=True))
    spreads = {"chosen": spread(good), "rejected": spread(poor), "alike": spread(alike)}
    return Relevance(MEASURE, len(good), fmean(good), fmean(poor), higher, spreads)


def spread(values: Sequence[float]) -> Spread:
    """The distribution of at least one cosine."""
    counts = Counter(min(int(value * BINS), BINS - 1) for value in values)
    shares = tuple(counts[n] / len(values) for n in range(BINS))
    if len(values) == 1:
        [only] = values
        return Spread(only, only, only, only, only, only, shares)
    cuts = quantiles(values, n=20, method="inclusive")
    tenth, quarter, half, three_quarters, nine_tenths = (cuts[n] for n in (1, 4, 9, 14, 17))
    return Spread(fmean(values), tenth, quarter, half, three_quarters, nine_tenths, shares)


def inverse_frequencies(texts: Iterable[str]) -> dict[str, float]:
    """ln((1 + n) / (1 + df)) + 1 for each word; n texts, df of which hold it."""
    found: Counter[str] = Counter()
    count = 0
    for text in texts:
        found.update(set(_words(text)))
        count += 1
    return {word: math.log((1 + count) / (1 + df)) + 1 for word, df in found.items()}


def vector(text: str, weights: Vector) -> dict[str, float]:
    """Counts times weights, of length 1; empty where no word is known."""
    counts = Counter(word for word in _words(text) if word in weights)
    raw = {word: count * weights[word] for word, count in counts.items()}
    norm = math.sqrt(sum(value * value for value in raw.values()))
    return {word: value / norm for word, value in raw.items()}


def cosine(one: Vector, other: Vector) -> float:
    """Of two vectors of length 1 or 0."""
    return sum(value * other.get(word, 0.0) for word, value in one.items())


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
