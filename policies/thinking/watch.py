"""Follows an answer as it is written by a model that thinks: ends what takes too long, or is enough."""

from __future__ import annotations

import re
from collections.abc import Callable
from enum import StrEnum

from .reader import (
    BARE_BEGINNING,
    BARE_FINAL,
    Blocks,
    Pair,
    bare_thinking,
    begins_mark,
    is_json,
    part,
    unread_from,
    unwrapped,
)

THINKING_TOKENS = 2048
"""Most tokens of thinking where nothing is said about them."""

_JSON_SIGN = re.compile(r'[][{}"]')
_JSON_CHARACTERS = re.compile(r'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)


class Ended(StrEnum):
    """Why an answer was ended from outside."""

    THOUGHT = "thought"
    """The thinking is over, and no more was wanted."""
    SPOKE = "spoke"
    """It began without thinking, and no more was wanted."""
    BUDGET = "budget"
    """It thought for as many tokens as it may."""
    LENGTH = "length"
    """The answer alone has as many tokens as it may."""
    ENOUGH = "enough"
    """The answer is complete."""


class ThinkingWatch:
    """Says when to end one answer. Called after every token.

    What was examined is remembered: all calls together look for marks in the whole text once.

    Args:
        begun: the prompt ended within a block.
        budget: maximum number of tokens of thinking.
        room: maximum number of tokens of the answer after it; None has no limit.
        alone: only the thinking is wanted.
        until: whether the text of the answer so far is complete.
    """

    def __init__(
        self,
        *,
        begun: bool,
        budget: int,
        room: int | None = None,
        alone: bool = False,
        until: Callable[[str], bool] | None = None,
    ) -> None:
        self._budget, self._room = budget, room
        self._alone, self._until = alone, until
        self.most = budget + (room or 0)
        """Tokens that are needed, thinking and answer together, where the answer has a limit."""
        self._spoken = SpokenSoFar(begun=begun)
        self._json: _JsonSoFar | None = None if begun else _JsonSoFar()
        self._answer_at: int | None = None
        self.ended: Ended | None = None

    def __call__(self, text: str, tokens: int) -> Ended | None:
        """Why to end now, or None.

        Args:
            text: what was written so far.
            tokens: its number of tokens.
        """
        self.ended = self._looked_at(self._said(text), text, tokens)
        return self.ended

    @property
    def thinking_tokens(self) -> int | None:
        """Tokens up to the end of the thinking; None while it goes on."""
        return self._answer_at

    def _said(self, text: str) -> str | None:
        """`part(text).text`, or None where the text ends within a block."""
        said = self._spoken(text)
        if said == text:
            return text
        if self._json is not None and self._json(text):
            return text
        return None if said is None else said.strip()

    def _looked_at(self, said: str | None, text: str, tokens: int) -> Ended | None:
        if said is None:
            return Ended.BUDGET if tokens >= self._budget else None
        if said == text and begins_mark(text.lstrip()):
            return None  # not known yet
        if self._answer_at is None:
            self._answer_at = 0 if said == text else tokens
        if self._alone:
            return Ended.THOUGHT if self._answer_at else Ended.SPOKE
        if self._room is not None and tokens - self._answer_at >= self._room:
            return Ended.LENGTH
        if self._until is not None and said and self._until(said):
            return Ended.ENOUGH
        return None


class SpokenSoFar:
    """What a growing text says, its thinking left out, as `part` tells it.

    What was examined is remembered: all calls together look for marks in the whole text once.

    Args:
        begun: the prompt ended within a block.
    """

    def __init__(self, *, begun: bool) -> None:
        self._begun = begun
        self._forget()

    def _forget(self) -> None:
        self._seen = ""
        self._blocks = Blocks(begun=self._begun)
        self._before = ""
        self._thought = False
        self._first = 0  # what lies before is white space
        self._bare: bool | None = False if self._begun else None
        self._final: int | None = None  # where the answer begins after thinking without marks

    def __call__(self, text: str) -> str | None:
        """What is said so far; None within a block of thinking.

        A text that does not go on from the one before is begun anew.
        """
        if not text.startswith(self._seen):
            self._forget()
        before, self._seen = len(self._seen), text
        if self._bare is None:
            self._look_at_beginning(text)
        if self._bare:
            return self._after_bare(text, before)
        blocks, known = self._blocks, self._blocks.start
        blocks.read(text, max(known, unread_from(text, before)))
        if blocks.start != known:
            self._thought = self._thought or bool(blocks.thought)
            self._before = blocks.said_before()
        if blocks.inside:
            return None
        if not blocks.start:
            return text
        said = text[blocks.start :].lstrip()
        said = f"{self._before} {said}".strip() if self._before else said
        return unwrapped(said.rstrip()) if self._thought and said.startswith("<") else said

    def _look_at_beginning(self, text: str) -> None:
        while self._first < len(text) and text[self._first].isspace():
            self._first += 1
        known = len(text) - self._first >= BARE_BEGINNING
        if bare_thinking(text, self._first):
            self._bare = True
        elif known:
            self._bare = False

    def _after_bare(self, text: str, before: int) -> str | None:
        if self._final is None:
            start = max(self._first, before - len(BARE_FINAL) + 1)
            if (found := text.find(BARE_FINAL, start)) < 0:
                return None
            self._final = found + len(BARE_FINAL)
        return text[self._final :].lstrip()


class _JsonSoFar:
    """Whether a growing text is complete JSON, an object or a list; each character is read once."""

    def __init__(self) -> None:
        self._forget()

    def _forget(self) -> None:
        self._seen = ""
        self._at = 0
        self._depth = 0
        self._within_string = False
        self._end: int | None = None  # behind the sign that closes the first one
        self._is_json = False

    def __call__(self, text: str) -> bool:
        """A text that does not go on from the one before is begun anew."""
        if not text.startswith(self._seen):
            self._forget()
        self._seen = text
        while self._at < len(text) and not self._depth and text[self._at].isspace():
            self._at += 1
        if self._end is None and (self._depth or text[self._at : self._at + 1] in ("{", "[")):
            self._read(text)
        return self._is_json and not text[self._end :].strip()

    def _read(self, text: str) -> None:
        """Follow strings and brackets from where they were followed to."""
        while self._at < len(text):
            if self._within_string:
                inside = _JSON_CHARACTERS.match(text, self._at)
                assert inside is not None
                self._at = inside.end()
                if text[self._at : self._at + 1] != '"':
                    return  # the text ends within the string, or on a backslash
                self._at += 1
                self._within_string = False
            if (sign := _JSON_SIGN.search(text, self._at)) is None:
                self._at = len(text)
                return
            self._at = sign.end()
            self._within_string = sign[0] == '"'
            self._depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(sign[0], 0)
            if not self._depth:
                self._end, self._is_json = self._at, is_json(text[: self._at])
                return


def begins_answer(
    pair: Pair, written: str, *, begun: bool, ended: Ended | None, asked: bool
) -> str | None:
    """What to write after the prompt before the answer itself is asked for, after a first pass.

    Args:
        pair: the model's marks.
        written: by the first pass.
        begun: the prompt ended within a block.
        ended: why the first pass ended; None where the model ended it.
        asked: only the thinking was wanted, so an answer still has to be asked for.

    Returns:
        The text, or None where the first pass holds the answer.
    """
    parted = part(written, begun=begun)
    if ended is Ended.SPOKE:
        return ""
    if ended is Ended.THOUGHT:
        return pair.answer_after(written, begun=begun, closed=True)
    if ended is Ended.BUDGET or parted.open:
        return pair.answer_after(written, begun=begun, closed=False)
    if not asked:
        return None
    return pair.answer_after(written, begun=begun, closed=True) if parted.text != written else ""
