"""Published figures in the form that analyses print beside ours; the numbers are in `published.toml`."""

from __future__ import annotations

from ...environments.corpus.statistics import PUBLISHED
from ..published import published_rows

STRATEGY_SHARES: dict[str, dict[str, float]] = {
    corpus: {strategy: share / 100 for strategy, share in shares.items()}
    for corpus, shares in published_rows("SweetieChat Table 2").items()
}
"""Fractions of supporter turns (SweetieChat, Table 2)."""

_SIZE_ROWS = ("dialogues", "utterances", "utterances a dialogue", "words an utterance")

SIZES: dict[str, dict[str, float]] = {
    name: {
        row: float(printed.replace(",", ""))
        for row, printed in zip(_SIZE_ROWS, column[:4], strict=True)
    }
    for name, column in PUBLISHED.items()
}
"""FPEMF, Table 2; SweetieChat, Table 1."""

DISTINCT: dict[str, dict[int, float]] = {
    corpus: {int(name.removeprefix("distinct-")): value for name, value in figures.items()}
    for corpus, figures in published_rows("SweetieChat Table 6").items()
}
"""Per cent, over 1,300 dialogues, in tokens of the LLaMA-3 tokenizer (SweetieChat, Table 6)."""
