"""Words as the filters count and compare them: any script, Chinese and Japanese by character."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_HAN = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_TOKEN = re.compile(rf"[{_HAN}]|[^\W_{_HAN}]+(?:'[^\W\d_{_HAN}]+)*")
_HAN_CHARACTER = re.compile(f"[{_HAN}]")
_APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'"})

HAN_PER_WORD = 1.5
"""Characters that stand for about one English word, for limits given in words."""


def _straight(text: str) -> str:
    return text if text.isascii() else text.translate(_APOSTROPHES)


def plain(text: str) -> str:
    """Lower case, straight apostrophes, single spaces: what patterns are matched against."""
    return " ".join(_straight(text.lower()).split())


def tokens(text: str) -> list[str]:
    """Words in lower case without punctuation; each Chinese or Japanese character is one."""
    return _TOKEN.findall(_straight(text.lower()))


def word_count(text: str) -> int:
    """About how many words a text has, comparable across scripts."""
    han = len(_HAN_CHARACTER.findall(text))
    if not han:
        return len(text.split())
    return len(_HAN_CHARACTER.sub(" ", text).split()) + round(han / HAN_PER_WORD)


def shingles(words: Sequence[str], size: int) -> Iterator[str]:
    """All runs of `size` words; a shorter text is one run."""
    if not words:
        return
    for start in range(max(1, len(words) - size + 1)):
        yield " ".join(words[start : start + size])


_FUNCTION = """
a about after again all also am an and any are as at be because been before being but by can
can't cannot could couldn't did didn't do does doesn't doing don't down each even for from
get gets getting go goes going got had has have haven't having he her here hers him his how
i i'd i'll i'm i've if in into is isn't it it's its just know let like made make me more
most much my myself no not now of off on once one only or other our out over own really same
say says she should so some still such than that that's the their them then there these they
they're thing things think this those through to too under until up us very want was wasn't
we well were what when where which while who why will with won't would wouldn't yeah yes you
you're your
"""
_FUNCTION_WORDS = frozenset(_FUNCTION.split())


def content_words(text: str) -> list[str]:
    """The words that carry a topic: no function words, none of one or two letters.

    Chinese has no spaces, so there pairs of neighbouring characters stand for words.
    """
    found, previous = [], ""
    for word in tokens(text):
        han = bool(_HAN_CHARACTER.fullmatch(word))
        if han and previous:
            found.append(previous + word)
        elif not han and len(word) > 2 and word not in _FUNCTION_WORDS:
            found.append(word)
        previous = word if han else ""
    return found
