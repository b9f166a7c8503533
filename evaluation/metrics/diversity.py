"""Diversity and length of replies: Distinct-n over a corpus and for each reply, and words a
reply."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..statistics.uncertainty import mean_tally
from .metric import Measurement, Pairs
from .tokens import Tokenizer, Tokens

ORDERS = (1, 2, 3)


class CorpusDistinct:
    """Distinct-1…3 (Li et al. 2016): different n-grams per n-gram, over all replies together.

    It falls as a corpus grows: compare corpora of equal size only. Resampling repeats replies and
    so lowers it, hence no interval.

    Args:
        tokenizer: cuts the texts.
        skip_last: leave out each reply's last n-gram, as the code of the ESConv family does.
        name: of the figures, before the order.
    """

    def __init__(
        self, tokenizer: Tokenizer, *, skip_last: bool = False, name: str = "distinct"
    ) -> None:
        self.tokenizer, self.skip_last, self.name = tokenizer, skip_last, name

    def measure(self, pairs: Pairs) -> list[Measurement]:
        replies, _ = pairs.tokens(self.tokenizer)
        quirk = ", last n-gram of each reply left out" if self.skip_last else ""
        convention = f"over the corpus of replies{quirk}; {self.tokenizer.name}"
        return [
            Measurement(
                f"{self.name}-{n}", distinct(replies, n, skip_last=self.skip_last), convention
            )
            for n in ORDERS
        ]


class ReplyDistinct:
    """Distinct-1…3 of each reply on its own, mean over the replies long enough to have an
    n-gram."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def measure(self, pairs: Pairs) -> list[Measurement]:
        replies, _ = pairs.tokens(self.tokenizer)
        convention = f"in each reply, mean over replies; {self.tokenizer.name}"
        figures = []
        for n in ORDERS:
            values = [distinct([reply], n) for reply in replies]
            known = sum(value is not None for value in values)
            figures.append(Measurement(f"distinct-{n}", mean_tally(values), convention, n=known))
        return figures


class Length:
    """Tokens a reply, mean."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer

    def measure(self, pairs: Pairs) -> list[Measurement]:
        replies, _ = pairs.tokens(self.tokenizer)
        sizes = mean_tally([float(len(reply)) for reply in replies])
        return [Measurement("length", sizes, f"mean; {self.tokenizer.name}", unit="tokens")]


def distinct(texts: Sequence[Tokens], order: int, *, skip_last: bool = False) -> float | None:
    """Different n-grams per n-gram over all texts, in per cent; None without any n-gram."""
    seen: set[object] = set()
    count = 0
    for text in texts:
        grams = list(_grams(text[:-1] if skip_last else text, order))
        seen.update(grams)
        count += len(grams)
    return 100 * len(seen) / count if count else None


def _grams(text: Tokens, order: int) -> Iterator[object]:
    if order == 1:
        return iter(text)
    return zip(*(text[i:] for i in range(order)), strict=False)
