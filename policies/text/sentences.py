"""The one sentence splitter: environment, metrics and generation-time stopping all use it.

A full stop, question or exclamation mark of any script ends a sentence, an ellipsis before a capital
letter, an emoji before a capital letter, a blank line, a line that the next one does not continue in
small letters, and each further number of a list. What stands in closed quotation marks or brackets
is part of the sentence around it, and a fragment without any letter or digit belongs to the sentence
before it. Which words a full stop only shortens is sentencex's knowledge (Wikimedia), corrected in
`abbreviations.py`. Figures and details: `docs/sentences.md`.
"""

from __future__ import annotations

from itertools import pairwise

from .scanner import SentenceScanner

_ASCII_ENDS = ".!?)\n\r:;=<"
"""Each end of a sentence in ASCII has one of these: marks, list items, lines, faces."""


def split_sentences(text: str) -> list[str]:
    """The sentences of `text`, white space kept: joined, they are `text` again.

    A text without any letter or digit ("...", "😊") is one sentence; an empty one has none. Linear
    in the length of the text.
    """
    if not text.strip():
        return []
    return [text[a:b] for a, b in pairwise((0, *_boundaries(text), len(text)))]


def count_sentences(text: str) -> int:
    """Number of sentences in `text`."""
    return len(_boundaries(text)) + 1 if text.strip() else 0


def cap_sentences(text: str, limit: int) -> tuple[str, int]:
    """The first `limit` sentences of `text`, and how many were cut off.

    The kept text never counts more than `limit` sentences, has no white space around it, and
    capping it again changes nothing.

    Raises:
        ValueError: `limit` is below 1.
    """
    if limit < 1:
        raise ValueError(f"a sentence limit must be at least 1, not {limit}")
    kept = text.strip()
    if kept.isascii() and sum(map(kept.count, _ASCII_ENDS)) < limit:
        return kept, 0  # too few marks for a further sentence
    begins = _boundaries(kept)
    cut = max(0, len(begins) + 1 - limit) if kept else 0
    while len(begins) >= limit:  # once, unless a head were to hold more sentences than the whole
        kept = kept[: begins[limit - 1]].rstrip()
        begins = _boundaries(kept)
    return kept, cut


def whole_sentences(text: str, before: int = 0) -> str:
    """The sentences at the beginning of a growing text that nothing further can change.

    Args:
        before: only those that so many further whole ones follow.
    """
    scanner = SentenceScanner()
    scanner.feed(text)
    ends = scanner.boundaries
    return text[: ends[-1 - before]].rstrip() if len(ends) > before else ""


class SentenceLimit:
    """Says of a growing text when it holds `limit` complete sentences.

    A sentence is known to be complete only when the first word of the next one is ("Dr." may go
    on), and never within quotation marks or brackets that may still close. So this turns true a few
    tokens late, and never early: `cap_sentences` of the text so far and of the finished text agree.
    What was examined is remembered: all calls together look at the whole text once.

    Args:
        limit: sentences, at least 1.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._scanner = SentenceScanner()
        self._seen = ""

    def __call__(self, text: str) -> bool:
        """Whether the text so far holds `limit` complete sentences.

        A text that does not go on from the one before is begun anew.
        """
        if not text.startswith(self._seen):
            self._scanner, self._seen = SentenceScanner(), ""
        self._scanner.feed(text[len(self._seen) :])
        self._seen = text
        return len(self._scanner.boundaries) >= self._limit


def limit_reached(text: str, limit: int) -> bool:
    """Whether a growing text already holds `limit` complete sentences; see `SentenceLimit`."""
    return SentenceLimit(limit)(text)


def _boundaries(text: str) -> list[int]:
    scanner = SentenceScanner()
    scanner.feed(text)
    scanner.finish()
    return scanner.boundaries
