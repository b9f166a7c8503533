"""Overlap of a reply with the reply of the corpus: BLEU, ROUGE, unigram F1, chrF.

Every figure but chrF is a function of sums over replies (`Tally`), so that intervals by dialogue
cost a matrix product. Libraries define the numbers; the tests hold NLTK, sacrebleu and rouge-score
against them. METEOR is in `meteor.py`, BERTScore in `bertscore.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

import numpy as np

from ...core.errors import MissingExtra
from ..statistics.uncertainty import Floats, Tally, mean_tally
from .metric import Measurement, Pairs
from .tokens import RougeTokens, Tokenizer, Tokens

BLEU_ORDER = 4


class Bleu:
    """Corpus BLEU-1…4 (Papineni et al. 2002), uniform weights, geometric smoothing.

    An order without any match counts as 1/2 match, the next such as 1/4, and so on: NLTK's
    smoothing method 3, sacrebleu's `exp`. They differ for replies shorter than the order, of which
    NLTK counts one n-gram that cannot match (`floor`).

    Args:
        tokenizer: cuts the texts.
        floor: count at least one n-gram of each order for each reply, as NLTK does.
    """

    def __init__(self, tokenizer: Tokenizer, *, floor: bool) -> None:
        self.tokenizer, self.floor = tokenizer, floor

    def measure(self, pairs: Pairs) -> list[Measurement]:
        hypotheses, references = pairs.tokens(self.tokenizer)
        rows = bleu_rows(hypotheses, references, floor=self.floor)
        smoothing = "NLTK smoothing 3" if self.floor else "sacrebleu smoothing exp"
        convention = f"corpus BLEU, {smoothing}; {self.tokenizer.name}"
        return [
            Measurement(f"bleu-{k}", Tally(rows, partial(bleu_of, order=k)), convention)
            for k in range(1, BLEU_ORDER + 1)
        ]


def bleu_rows(hypotheses: Sequence[Tokens], references: Sequence[Tokens], *, floor: bool) -> Floats:
    """What each reply adds to BLEU: `(replies, 10)`.

    Columns: clipped matches of the orders 1–4, n-grams of the orders 1–4, length of the hypothesis,
    length of the reference.
    """
    minimum = 1 if floor else 0
    rows = []
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        size = len(hypothesis)
        rows.append(
            (
                *gram_matches(hypothesis, reference),
                *(max(minimum, size - k) for k in range(BLEU_ORDER)),
                size,
                len(reference),
            )
        )
    return np.maximum(np.array(rows, dtype=np.float64), 0)


def gram_matches(a: Tokens, b: Tokens) -> list[int]:
    """n-grams that `a` and `b` share, with multiplicity, for the orders 1–4."""
    matches = [0] * BLEU_ORDER
    for order in range(BLEU_ORDER):
        mine = Counter(zip(*(a[i:] for i in range(order + 1)), strict=False))
        others = Counter(zip(*(b[i:] for i in range(order + 1)), strict=False))
        shared = mine.keys() & others.keys()
        if not shared:
            break  # a longer n-gram in common would hold a shorter one
        matches[order] = sum(min(mine[gram], others[gram]) for gram in shared)
    return matches


def bleu_of(sums: Floats, *, order: int) -> Floats:
    """BLEU in per cent from summed rows `(..., 10)`; 0 if no word matches or an order is empty."""
    matched, total = sums[..., :order], sums[..., BLEU_ORDER : BLEU_ORDER + order]
    unmatched = matched == 0
    halvings = np.cumsum(unmatched, axis=-1)
    counted = np.where(unmatched, 0.5**halvings, matched)
    length, wanted = sums[..., -2], sums[..., -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.exp(np.mean(np.log(counted / total), axis=-1))
        brevity = np.exp(np.minimum(0.0, 1 - wanted / length))
        score = 100 * brevity * precision
    defined = (matched[..., 0] > 0) & np.all(total > 0, axis=-1)
    whole: Floats = np.where(defined, score, 0.0)
    return whole


class UnigramF1:
    """F1 of the words that a reply shares with its reference, with multiplicity; mean over replies.

    Two texts without any word score 0.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def measure(self, pairs: Pairs) -> list[Measurement]:
        values = [
            f_measure((Counter(h) & Counter(r)).total(), len(h), len(r))
            for h, r in zip(*pairs.tokens(self.tokenizer), strict=True)
        ]
        convention = f"multiset F1, mean over replies; {self.tokenizer.name}"
        return [Measurement("f1", mean_tally(values, scale=100), convention)]


class RougeL:
    """ROUGE-L (Lin 2004): F of the longest common subsequence, mean over replies.

    Args:
        tokenizer: cuts the texts.
        beta: weight of recall over precision; 1.2 in the ESConv family, 1 in rouge-score.
    """

    def __init__(self, tokenizer: Tokenizer, *, beta: float) -> None:
        self.tokenizer, self.beta = tokenizer, beta

    def measure(self, pairs: Pairs) -> list[Measurement]:
        values = [
            f_measure(lcs_length(h, r), len(h), len(r), self.beta)
            for h, r in zip(*pairs.tokens(self.tokenizer), strict=True)
        ]
        convention = f"LCS F, beta {self.beta:g}, mean over replies; {self.tokenizer.name}"
        return [Measurement("rouge-l", mean_tally(values, scale=100), convention)]


class RougeN:
    """ROUGE-1 and ROUGE-2 (Lin 2004): F1 of shared n-grams, mean over replies."""

    def __init__(self, tokenizer: Tokenizer | None = None) -> None:
        self.tokenizer = tokenizer or RougeTokens()

    def measure(self, pairs: Pairs) -> list[Measurement]:
        convention = f"n-gram F1, mean over replies; {self.tokenizer.name}"
        values: tuple[list[float], list[float]] = ([], [])
        for h, r in zip(*pairs.tokens(self.tokenizer), strict=True):
            matches = gram_matches(h, r)
            for less, column in enumerate(values):
                column.append(f_measure(matches[less], len(h) - less, len(r) - less))
        return [
            Measurement(f"rouge-{n}", mean_tally(column, scale=100), convention)
            for n, column in enumerate(values, 1)
        ]


class ChrF:
    """Corpus chrF2 (Popović 2015) by sacrebleu: character 6-grams, beta 2, no word n-grams."""

    def measure(self, pairs: Pairs) -> list[Measurement]:
        try:
            from sacrebleu.metrics.chrf import CHRF
        except ImportError as error:
            raise MissingExtra("chrF", extra="eval") from error
        score = CHRF().corpus_score(list(pairs.hypotheses), [list(pairs.references)]).score
        return [Measurement("chrf", float(score), "corpus chrF2, sacrebleu; characters, case kept")]


def f_measure(shared: int, size_a: int, size_b: int, beta: float = 1.0) -> float:
    """F of precision shared / size_a and recall shared / size_b; 0 where nothing is shared."""
    if shared == 0:
        return 0.0
    precision, recall = shared / size_a, shared / size_b
    return (1 + beta**2) * precision * recall / (recall + beta**2 * precision)


def lcs_length(a: Tokens, b: Tokens) -> int:
    """Length of the longest common subsequence, one row of bits at a time (Hyyrö 2004)."""
    places: dict[object, int] = {}
    for i, token in enumerate(a):
        places[token] = places.get(token, 0) | 1 << i
    full = (1 << len(a)) - 1
    row = full
    for token in b:
        hits = row & places.get(token, 0)
        row = ((row + hits) | (row - hits)) & full
    return len(a) - row.bit_count()
