"""The one sentence splitter: environment, metrics and generation-time stopping all use it.

The splitting is sentencex's (Wikimedia: rules for many scripts, no model, about a microsecond an
utterance). Three repairs are ours: a list number stays with its item, a bracketed sentence and a
run of `?!` end a sentence, and a fragment without any letter or digit (an emoji, a closing quote, a
blank line) belongs to the sentence before it.
"""

from __future__ import annotations

import re

import sentencex

_LIST_NUMBER = re.compile(r"\s*\(?(?:\d{1,2}|[a-zA-Z])[.)]\s*")
_ENDS_INSIDE = re.compile(r"(?:[.!?。！？][)\]）】]+|[?!]{2,})\s+(?=\S)")


def split_sentences(text: str) -> list[str]:
    """The sentences of `text`, white space kept: joined, they are `text` again.

    A text without any letter or digit ("...", "😊") is one sentence; an empty one has none.
    """
    if not text.strip():
        return []
    pieces: list[str] = []
    for piece in sentencex.segment("en", text):
        pieces.extend(_split_inside(piece))
    sentences: list[str] = []
    for piece in pieces:
        previous = sentences[-1] if sentences else None
        joins_previous = previous is not None and (
            not any(map(str.isalnum, piece)) or _LIST_NUMBER.fullmatch(previous)
        )
        if joins_previous or (previous is not None and not any(map(str.isalnum, previous))):
            sentences[-1] += piece
        else:
            sentences.append(piece)
    return sentences


def _split_inside(piece: str) -> list[str]:
    parts, start = [], 0
    for match in _ENDS_INSIDE.finditer(piece):
        parts.append(piece[start : match.end()])
        start = match.end()
    parts.append(piece[start:])
    return parts


def count_sentences(text: str) -> int:
    """Number of sentences in `text`."""
    return len(split_sentences(text))


def cap_sentences(text: str, limit: int) -> tuple[str, int]:
    """The first `limit` sentences of `text`, and how many were cut off.

    Capping what is already capped changes nothing. The kept text has no trailing white space.

    Raises:
        ValueError: `limit` is below 1.
    """
    if limit < 1:
        raise ValueError(f"a sentence limit must be at least 1, not {limit}")
    sentences = split_sentences(text)
    if len(sentences) <= limit:
        return text.strip(), 0
    kept = "".join(sentences[:limit]).strip()
    return kept, len(sentences) - limit


def limit_reached(text: str, limit: int) -> bool:
    """Whether a growing text already holds `limit` complete sentences.

    A sentence is known to be complete only when the next one has begun ("Dr." may go on), so this
    turns true a token or two late, and never early: `cap_sentences` of the text so far and of the
    finished text agree.
    """
    return len(split_sentences(text)) > limit
