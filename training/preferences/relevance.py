"""Relevance of a reply to what the user said: TF-IDF cosine (Self-Evolution §5.2, figure 5a).

The paper does not name its measure; this one is scikit-learn's `TfidfVectorizer` with its defaults,
in a few lines, so that training needs no further library.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

MEASURE = "tfidf-cosine"
_WORD = re.compile(r"\b\w\w+\b")

Vector = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Relevance:
    """How much replies have to do with what the user said (Self-Evolution §5.2, figure 5a).

    Attributes:
        measure: name of the similarity.
        pairs: how many were compared.
        chosen, rejected: mean similarity, in [0, 1]; None without pairs.
        chosen_higher: share of the pairs in which the chosen reply is the more similar one.
    """

    measure: str
    pairs: int
    chosen: float | None
    rejected: float | None
    chosen_higher: float | None


def relevance(heard: Sequence[str], chosen: Sequence[str], rejected: Sequence[str]) -> Relevance:
    """Similarity of the replies to what was heard, pair by pair.

    Weights of words are fitted on all the texts together.

    Args:
        heard: for each pair what the user had said.
        chosen, rejected: the replies.
    """
    weights = inverse_frequencies([*heard, *chosen, *rejected])
    user = [vector(text, weights) for text in heard]
    good = [cosine(u, vector(t, weights)) for u, t in zip(user, chosen, strict=True)]
    poor = [cosine(u, vector(t, weights)) for u, t in zip(user, rejected, strict=True)]
    if not user:
        return Relevance(MEASURE, 0, None, None, None)
    higher = fmean(g > p for g, p in zip(good, poor, strict=True))
    return Relevance(MEASURE, len(user), fmean(good), fmean(poor), higher)


def inverse_frequencies(texts: Sequence[str]) -> dict[str, float]:
    """ln((1 + n) / (1 + df)) + 1 for each word; n texts, df of which hold it."""
    found = Counter(word for text in texts for word in set(_words(text)))
    return {word: math.log((1 + len(texts)) / (1 + df)) + 1 for word, df in found.items()}


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
