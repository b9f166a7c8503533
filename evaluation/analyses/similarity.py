"""TF-IDF cosine similarity: between dialogues, replies, corpora, and of a dialogue to its scenario.

The features are scikit-learn's with its own settings (lower case, terms of two or more word
characters, smoothed idf, unit length). The idf of a number about one corpus is that corpus's own,
so the number does not depend on what it is shown beside; across corpora the idf is a common one.

Means are over *all* pairs and exact, without forming a pair: rows have length 1, so the sum over
all ordered pairs is |Σx|² − n. Quantiles are over all pairs if they are few, else over a seeded
sample of pairs. Bootstrap resamples dialogues, since pairs are not independent.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...core.errors import MissingExtra
from ..statistics.uncertainty import tells
from .text import TERM

PAIRS = 200_000
"""Pairs drawn for the quantiles if there are more than these."""
RESAMPLES = 200
BLOCK = 4_096
"""Pairs multiplied at once."""
BINS = 100

Floats = npt.NDArray[np.float64]
Matrix = Any  # scipy.sparse.csr_matrix of shape (documents, terms), rows of length 1


@dataclass(frozen=True, slots=True)
class Similarity:
    """Cosine similarity over pairs.

    Attributes:
        documents: those in at least one pair.
        pairs: unordered pairs in the mean.
        mean: exact over all pairs; None without a pair.
        low, high: 95 % percentile bootstrap interval of the mean, dialogues resampled; None where
            the resamples do not tell one (two documents have one pair, say).
        p10, median, p90: over `drawn` pairs.
        drawn: pairs that the quantiles are computed on; equal to `pairs` if those are few.
        histogram: share of the drawn pairs in each of `BINS` equal bins of [0, 1].
    """

    documents: int
    pairs: int
    mean: float | None
    low: float | None = None
    high: float | None = None
    p10: float | None = None
    median: float | None = None
    p90: float | None = None
    drawn: int = 0
    histogram: tuple[float, ...] = ()


def tfidf(*texts: Sequence[str]) -> list[Matrix]:
    """Unit-length TF-IDF rows of each list of texts, with one vocabulary and idf for all lists.

    A text without any term has an empty row, whose similarity to everything is 0. If no text has
    one, the matrices have no columns.

    Raises:
        MissingExtra: scikit-learn is not installed.
    """
    try:
        from scipy.sparse import csr_matrix
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError:
        raise MissingExtra("TF-IDF similarity", extra="eval") from None
    together = [text for each in texts for text in each]
    vectorizer = TfidfVectorizer(token_pattern=TERM)
    try:
        rows = vectorizer.fit_transform(together)
    except ValueError as error:
        if "empty vocabulary" not in str(error):
            raise
        rows = csr_matrix((len(together), 0))
    ends = np.cumsum([len(each) for each in texts])
    return [rows[end - len(each) : end] for each, end in zip(texts, ends, strict=True)]


def similarity(
    rows: Matrix,
    groups: Sequence[object] | None = None,
    *,
    seed: int = 0,
    pairs: int = PAIRS,
    resamples: int = RESAMPLES,
) -> Similarity:
    """Similarity between distinct documents; with `groups`, only of pairs inside one group.

    Args:
        rows: (documents, terms), of unit length.
        groups: a label for each document; all pairs of all groups are pooled. A document whose
            label is None is in no pair.
        seed: of drawn pairs and resamples.
        pairs: pairs drawn for the quantiles, at most.
        resamples: bootstrap resamples of the documents; 0 for no interval.
    """
    labels = _codes(groups) if groups is not None else np.zeros(rows.shape[0], dtype=np.intp)
    sizes = np.bincount(labels) if len(labels) else np.zeros(0, dtype=np.intp)
    total = int((sizes * (sizes - 1) // 2).sum())
    if not total:
        return Similarity(0, 0, None)
    generator = np.random.default_rng(seed)
    mean = float(_means(rows, labels, np.ones((rows.shape[0], 1)))[0])
    low = high = None
    if resamples:
        low, high = _interval(rows, labels, resamples, generator)
    first, second = _draw_pairs(labels, sizes, total, pairs, generator)
    values = _cosines(rows, first, second)
    p10, median, p90 = (float(value) for value in np.quantile(values, (0.1, 0.5, 0.9)))
    counts, _ = np.histogram(values, bins=BINS, range=(0.0, 1.0))
    return Similarity(
        documents=int(sizes[sizes > 1].sum()),
        pairs=total,
        mean=mean,
        low=low,
        high=high,
        p10=p10,
        median=median,
        p90=p90,
        drawn=len(values),
        histogram=tuple(float(count) / len(values) for count in counts),
    )


def mean_between(rows: Matrix, others: Matrix) -> float | None:
    """Mean cosine over all pairs of one document here and one there; exact."""
    if not rows.shape[0] or not others.shape[0]:
        return None
    left, right = _total(rows), _total(others)
    pairs: int = rows.shape[0] * others.shape[0]
    return float(left @ right) / pairs


@dataclass(frozen=True, slots=True)
class Adherence:
    """How close dialogues are to their own scenario, and to those of the others.

    Attributes:
        documents: dialogues with a scenario text; `missing` are those without.
        own: mean cosine of a dialogue to its own scenario.
        low, high: 95 % percentile bootstrap interval of `own`; None as in `Similarity`.
        other: mean cosine to the scenarios of all other dialogues; what the topic of the whole
            corpus gives without any adherence. None with fewer than two.
        histogram: share of the dialogues in each of `BINS` bins of [0, 1], own scenario.
    """

    documents: int
    missing: int
    own: float | None
    low: float | None = None
    high: float | None = None
    other: float | None = None
    histogram: tuple[float, ...] = ()


def adherence(
    scenarios: Sequence[str], dialogues: Sequence[str], *, seed: int = 0, resamples: int = 1_000
) -> Adherence:
    """Cosine of each dialogue to its scenario (SweetieChat App. C.2), and to the scenarios of the
    others."""
    given = [(s, d) for s, d in zip(scenarios, dialogues, strict=True) if s.strip()]
    missing, n = len(scenarios) - len(given), len(given)
    if not given:
        return Adherence(0, missing, None)
    left, right = tfidf([s for s, _ in given], [d for _, d in given])
    own = np.asarray(left.multiply(right).sum(axis=1)).ravel()
    generator = np.random.default_rng(seed)
    means = [own[generator.integers(0, n, n)].mean() for _ in range(resamples)]
    low, high = _ends(np.array(means))
    other = None
    if n > 1:
        other = (float(_total(left) @ _total(right)) - float(own.sum())) / (n * (n - 1))
    counts, _ = np.histogram(own, bins=BINS, range=(0.0, 1.0))
    return Adherence(
        documents=n,
        missing=missing,
        own=float(own.mean()),
        low=low,
        high=high,
        other=other,
        histogram=tuple(float(count) / n for count in counts),
    )


def _codes(groups: Sequence[object]) -> npt.NDArray[np.intp]:
    """A number for each label; every None gets one of its own."""
    numbers: dict[object, int] = {}
    keys = [("alone", place) if g is None else ("of", g) for place, g in enumerate(groups)]
    return np.array([numbers.setdefault(key, len(numbers)) for key in keys], dtype=np.intp)


def _total(rows: Matrix) -> Floats:
    total: Floats = np.asarray(rows.sum(axis=0), dtype=float).ravel()
    return total


def _means(rows: Matrix, labels: npt.NDArray[np.intp], weights: Floats) -> Floats:
    """Mean cosine inside groups for each column of `weights` (documents, draws); NaN without a
    pair.

    A document drawn w times forms no pair with itself: the sum over ordered pairs of different
    documents is |Σwx|² − Σw²|x|², their number (Σw)² − Σw².
    """
    squares = np.asarray(rows.multiply(rows).sum(axis=1)).ravel()
    sums, numbers = np.zeros(weights.shape[1]), np.zeros(weights.shape[1])
    order = np.argsort(labels, kind="stable")
    for members in np.split(order, np.cumsum(np.bincount(labels))[:-1]):
        if len(members) < 2:
            continue
        w = weights[members]
        sums += _weighted_sums(rows[members], w)
        sums -= (w**2 * squares[members, None]).sum(axis=0)
        numbers += w.sum(axis=0) ** 2 - (w**2).sum(axis=0)
    means: Floats = np.full(len(numbers), np.nan)
    np.divide(sums, numbers, out=means, where=numbers > 0)
    return means


def _weighted_sums(rows: Matrix, weights: Floats, columns: int = 16) -> Floats:
    """|Σwx|² for each column of weights, a few columns at once to bound the memory."""
    squared = np.empty(weights.shape[1])
    transposed = rows.T.tocsr()
    for start in range(0, weights.shape[1], columns):
        part = transposed @ weights[:, start : start + columns]
        squared[start : start + columns] = (part**2).sum(axis=0)
    return squared


def _interval(
    rows: Matrix, labels: npt.NDArray[np.intp], resamples: int, generator: np.random.Generator
) -> tuple[float | None, float | None]:
    n = rows.shape[0]
    weights = np.stack(
        [np.bincount(generator.integers(0, n, n), minlength=n) for _ in range(resamples)], axis=1
    ).astype(float)
    return _ends(_means(rows, labels, weights))  # a resample of a tiny corpus may hold no pair


def _ends(means: Floats) -> tuple[float | None, float | None]:
    """The 95 % interval of resampled means; Nones where they do not tell one."""
    if not tells(means):
        return None, None
    low, high = np.nanquantile(means, (0.025, 0.975))
    return float(low), float(high)


def _draw_pairs(
    labels: npt.NDArray[np.intp],
    sizes: npt.NDArray[np.intp],
    total: int,
    wanted: int,
    generator: np.random.Generator,
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """All pairs inside groups if there are at most `wanted`, else that many, drawn with
    replacement."""
    order = np.argsort(labels, kind="stable")
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    if total <= wanted:
        firsts, seconds = [], []
        for start, size in zip(starts, sizes, strict=True):
            i, j = np.triu_indices(size, 1)
            firsts.append(order[start + i])
            seconds.append(order[start + j])
        return np.concatenate(firsts), np.concatenate(seconds)
    chances = sizes * (sizes - 1) / 2 / total
    group = generator.choice(len(sizes), size=wanted, p=chances)
    i = generator.integers(0, sizes[group])
    j = generator.integers(0, sizes[group] - 1)
    j += j >= i
    return order[starts[group] + i], order[starts[group] + j]


def _cosines(rows: Matrix, first: npt.NDArray[np.intp], second: npt.NDArray[np.intp]) -> Floats:
    values = np.empty(len(first))
    for start in range(0, len(first), BLOCK):
        part = slice(start, start + BLOCK)
        product = rows[first[part]].multiply(rows[second[part]])
        values[part] = np.asarray(product.sum(axis=1)).ravel()
    return np.clip(values, 0.0, 1.0)
