"""Words of a text, for similarity, Distinct and openings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from ...agents.roles import Role
from ..metrics.tokens import ModelTokens
from .corpus import Dialogue

_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
TERM = rf"[{_UNSPACED}]|[^\W{_UNSPACED}]{{2,}}"
"""A term of TF-IDF: two or more word characters, as in scikit-learn; scripts that are written
without spaces (Chinese, Japanese) give one term a character."""

_WORD = re.compile(rf"[{_UNSPACED}]|[^\W{_UNSPACED}]+(?:['’][^\W{_UNSPACED}]+)*|[^\w\s]")

DISTINCT_SAMPLE = 1_300
"""Dialogues over which Distinct is counted (SweetieChat App. D)."""
OPENING_WORDS = 3
OPENINGS_SHOWN = 15

Tokenize = Callable[[str], Sequence[object]]


def words(text: str) -> list[str]:
    """Lower-case words and marks; an apostrophe inside a word stays in it."""
    return _WORD.findall(text.lower())


def hub_tokenizer(path: str) -> Tokenize:
    """The token ids of a Hugging Face tokenizer, without special tokens; loaded at once.

    Raises:
        MissingExtra: transformers is not installed.
        ConfigError: no tokenizer there.
    """
    tokens = ModelTokens(path)
    tokens([])
    return lambda text: tokens([text])[0]


@dataclass(frozen=True, slots=True)
class Diversity:
    """Distinct-n of the sampled dialogues, in per cent; None where there is no n-gram."""

    dialogues: int
    tokens: int
    distinct: dict[int, float | None]


def diversity(
    sample: Sequence[Dialogue], tokenize: Tokenize = words, *, dialogues: int = DISTINCT_SAMPLE
) -> Diversity:
    """Distinct-1/2/3 over dialogues joined without speaker tokens (SweetieChat App. D, Table 6).

    Different n-grams of all dialogues over all their n-grams; no n-gram spans two dialogues. The
    value falls as the sample grows, so only equal numbers of dialogues can be compared.
    """
    tokenized = [tokenize(dialogue.text) for dialogue in islice(sample, dialogues)]
    values: dict[int, float | None] = {}
    for n in (1, 2, 3):
        different: set[tuple[object, ...]] = set()
        total = 0
        for tokens in tokenized:
            total += max(0, len(tokens) - n + 1)
            different.update(zip(*(tokens[start:] for start in range(n)), strict=False))
        values[n] = 100 * len(different) / total if total else None
    return Diversity(len(tokenized), sum(map(len, tokenized)), values)


@dataclass(frozen=True, slots=True)
class Openings:
    """The most frequent first words of supporter replies, with their share of the replies."""

    replies: int
    phrases: dict[str, float]


def openings(
    sample: Iterable[Dialogue], *, length: int = OPENING_WORDS, max_phrases: int = OPENINGS_SHOWN
) -> Openings:
    """Count the first `length` words of each supporter reply (Self-Evolution Fig. 6)."""
    texts = (turn.text for dialogue in sample for turn in dialogue.of(Role.SUPPORTER))
    return openings_of(texts, length=length, max_phrases=max_phrases)


def openings_of(
    replies: Iterable[str], *, length: int = OPENING_WORDS, max_phrases: int = OPENINGS_SHOWN
) -> Openings:
    """The same of the texts of replies.

    A shorter reply counts with all its words, a reply without a word is left out.
    """
    counts: Counter[str] = Counter()
    for text in replies:
        spoken = [word for word in words(text) if word[0].isalnum()]
        if spoken:
            counts[" ".join(spoken[:length])] += 1
    total = counts.total()
    ranked = sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))[:max_phrases]
    return Openings(total, {phrase: count / total for phrase, count in ranked})
