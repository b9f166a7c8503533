"""Published figures that analyses print beside ours, with where they stand."""

from __future__ import annotations

from ...agents.roles import Strategy
from ...environments.corpus.statistics import PUBLISHED

STRATEGY_SHARES: dict[str, dict[str, float]] = {
    "ESConv": {s.value: s.share for s in Strategy},
    "ServeForEmo": {
        Strategy.QUESTION.value: 0.1904,
        Strategy.OTHERS.value: 0.0606,
        Strategy.SUGGESTION.value: 0.2000,
        Strategy.AFFIRMATION.value: 0.2526,
        Strategy.SELF_DISCLOSURE.value: 0.0493,
        Strategy.REFLECTION.value: 0.1203,
        Strategy.INFORMATION.value: 0.0879,
        Strategy.RESTATEMENT.value: 0.0390,
    },
}
"""Fractions of supporter turns (001, Table 2)."""

_SIZE_ROWS = ("dialogues", "utterances", "utterances a dialogue", "words an utterance")

SIZES: dict[str, dict[str, float]] = {
    name: {
        row: float(printed.replace(",", ""))
        for row, printed in zip(_SIZE_ROWS, column[:4], strict=True)
    }
    for name, column in PUBLISHED.items()
}
"""000, Table 2; 001, Table 1."""

DISTINCT: dict[str, dict[int, float]] = {
    "ESConv": {1: 1.82, 2: 19.76, 3: 49.38},
    "ServeForEmo": {1: 1.62, 2: 16.78, 3: 40.23},
    "ExTES": {1: 0.82, 2: 8.86, 3: 24.95},
}
"""Per cent, over 1,300 dialogues, in tokens of the LLaMA-3 tokenizer (001, Table 6)."""
