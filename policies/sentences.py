"""The one sentence splitter: environment, metrics and generation-time stopping all use it.

The splitting is sentencex's (Wikimedia: rules for many scripts, no model, a few microseconds an
utterance). Three repairs are ours: a list number stays with its item, a bracketed sentence and a
run of `?!` end a sentence, and a fragment without any letter or digit (an emoji, a closing quote, a
blank line) belongs to the sentence before it. What stands in closed quotation marks or brackets is
part of the sentence around it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import sentencex

_LIST_NUMBER = re.compile(r"\s*\(?(?:\d{1,2}|[a-zA-Z])[.)]\s*")
_ENDS_INSIDE = re.compile(r"(?:[.!?。！？][)\]）】]+|[?!]{2,})\s+(?=\S)")
_UNSAFE = re.compile(r"(?![ -~\n\r\t])[\s\ud800-\udfff]")
_END_MARK = re.compile(r"[.!?…。！？｡।॥؟۔]+|\n")
_NEXT_WORD = re.compile(r"\W*\w+\W")
_SINGLE_OPENS = re.compile(r"(?<!\w)['‘](?=\w)")
_SINGLE_CLOSES = re.compile(r"(?<=\S)['’](?!\w)")
_PAIRS = ("()", "[]", "{}", "（）", "“”", "«»", "「」", "《》")


def split_sentences(text: str) -> list[str]:
    """The sentences of `text`, white space kept: joined, they are `text` again.

    A text without any letter or digit ("...", "😊") is one sentence; an empty one has none.
    """
    if not text.strip():
        return []
    pieces: list[str] = []
    for piece in _segment(text):
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


def _segment(text: str) -> Iterator[str]:
    """sentencex's pieces. It aborts at some white space outside ASCII and at lone surrogates, so it
    is shown plain spaces in their place."""
    start = 0
    for piece in sentencex.segment("en", _UNSAFE.sub(" ", text)):
        yield text[start : start + len(piece)]
        start += len(piece)


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

    The kept text never counts more than `limit` sentences, has no white space around it, and
    capping it again changes nothing.

    Raises:
        ValueError: `limit` is below 1.
    """
    if limit < 1:
        raise ValueError(f"a sentence limit must be at least 1, not {limit}")
    if text.isascii() and sum(map(text.count, ".!?\n")) < limit:
        return text.strip(), 0  # too few marks for a further sentence
    kept = _keep(text, limit)
    while (again := _keep(kept, limit)) != kept:
        kept = again  # without what followed it, a head may split at more places than before
    if kept == text.strip():
        return kept, 0
    return kept, max(1, count_sentences(text) - count_sentences(kept))


def limit_reached(text: str, limit: int) -> bool:
    """Whether a growing text already holds `limit` complete sentences.

    A sentence is known to be complete only when the first word of the next one is ("Dr." may go
    on), and never within open quotation marks or brackets. So this turns true a few tokens late,
    and never early: `cap_sentences` of the text so far and of the finished text agree.
    """
    return _complete(text, limit) is not None


def _keep(text: str, limit: int) -> str:
    sentences = _complete(text, limit) or split_sentences(text)
    return "".join(sentences[:limit]).strip()


def _complete(text: str, limit: int) -> list[str] | None:
    """The first `limit` sentences as soon as they are complete.

    Read off the shortest head of the text that shows it, never off what follows: a quotation mark
    far behind may change how sentencex pairs those in front.
    """
    for number, end in enumerate(_next_words(text), 1):
        if number >= limit and not _open_marks(text[:end]):
            sentences = split_sentences(text[:end])
            if len(sentences) > limit:
                return sentences[:limit]
    return None


def _next_words(text: str) -> Iterator[int]:
    """Where the first word after each end mark is over."""
    for mark in _END_MARK.finditer(text):
        if word := _NEXT_WORD.match(text, mark.end()):
            yield word.end()


def _open_marks(text: str) -> bool:
    """Whether the last paragraph of `text` ends within quotation marks or brackets."""
    paragraph = text[text.rfind("\n\n") + 1 :]
    return (
        paragraph.count('"') % 2 == 1
        or any(paragraph.count(pair[0]) > paragraph.count(pair[1]) for pair in _PAIRS)
        or len(_SINGLE_OPENS.findall(paragraph)) > len(_SINGLE_CLOSES.findall(paragraph))
    )
