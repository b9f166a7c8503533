"""Redundant closings are trimmed, premature ones are found (SweetieChat App. C.1)."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar

from pydantic import Field

from .....agents.speech import is_farewell
from .....policies.text.sentences import split_sentences
from ....episodes.episode import Episode, StopReason, Utterance
from ...tags import Finding
from .base import RecordFilter, excerpt
from .text import plain, word_count

MAX_CLOSING_WORDS = 30
"""Maximum words of a closing; a longer utterance says more than goodbye."""

_MANY = r"(?: (?:so|very) much| a lot| again| once again| once more| a million| kindly)*"
_PLEASANTRY = re.compile(
    r"(?:(?:and|but|oh|aww?|well|ok(?:ay)?|alright|yes|sure|great|again|no,?|right|haha|lol)[, ]*)*"
    rf"(?:(?:i )?(?:really )?(?:thank(?:s| you)|thx|ty|appreciate (?:it|you|that|this)){_MANY}"
    r"(?: for (?:everything|all|your|the|this|listening|talking|chatting|being|helping|taking)[\w' ,]*)?"
    r"(?: (?:too|as well|to you|also|then|my friend|friend|dear|sir|ma'am))*"
    r"|(?:you(?:'re| are)|your|ur) (?:very |so |most |always |too )*(?:welcome|kind|sweet)(?: (?:too|again))?"
    r"|(?:it was |it's been |it has been )?(?:my|a|an?) (?:absolute |real |great )?(?:pleasure|honor)"
    r"[\w' ]*|no (?:problem|worries|prob)(?: at all)?|any ?time|don't mention it|glad (?:i|to)"
    r" (?:could |can |have |be )?(?:help(?:ed)?|of help)[\w ]*|(?:the )?same to you|(?:and )?you too"
    r"|likewise|(?:i )?(?:wish you|good luck|best of luck|best wishes)[\w' ,]*"
    r"|(?:have|enjoy) (?:a|an|your|the) [\w' ,]*|take (?:good )?care[\w' ,]*|stay (?:safe|strong|well)"
    r"[\w' ,]*|(?:good ?)?bye[\w ]*|(?:非常|真的|太|十分)?(?:感谢|谢谢|多谢)(?:你|您|啦|了|你们)?(?:的.{0,12})?"
    r"|不(?:客气|用谢|谢)|没关系|祝(?:你|您).{0,16})[\s.!…~。！，,:;)(^❤😊🙂☺️💙🤗🙏-]*",
)


def closing_kind(text: str) -> str | None:
    """`farewell`, `thanks` (thanks, welcome and good wishes alone), or None for anything else."""
    if "?" in text or "？" in text or word_count(text) > MAX_CLOSING_WORDS:
        return None
    if is_farewell(text):
        return "farewell"
    sentences = [s for s in split_sentences(plain(text)) if any(map(str.isalnum, s))]
    polite = bool(sentences) and all(_PLEASANTRY.fullmatch(s.strip()) for s in sentences)
    return "thanks" if polite else None


def needless_closings(utterances: tuple[Utterance, ...]) -> int:
    """How many utterances at the end only close again what is closed.

    Read from the end, closings are followed as far back as they go. Among them a speaker's thanks
    are said once and a farewell once; what comes after the last that was new is needless.
    """
    kinds: list[str] = []
    for utterance in reversed(utterances):
        if (kind := closing_kind(utterance.text)) is None:
            break
        kinds.append(kind)
    tail = list(zip(utterances[len(utterances) - len(kinds) :], reversed(kinds), strict=True))
    said: set[tuple[str, str]] = set()
    needed = 0
    for position, (utterance, kind) in enumerate(tail, 1):
        closed = (utterance.role, "farewell") in said
        if not closed and (utterance.role, kind) not in said:
            needed = position
        said.add((utterance.role, kind))
    return len(tail) - needed


class RedundantClosings(RecordFilter):
    """Trims repeated farewells and thanks at the end to one exchange of each."""

    name: ClassVar[str] = "closings"
    trims: ClassVar[bool] = True

    def examine(self, episode: Episode) -> tuple[Finding, ...]:
        count = needless_closings(episode.utterances)
        first = len(episode.utterances) - count
        return tuple(
            self.trim("closes again what is closed", index, "", excerpt(utterance.text))
            for index, utterance in enumerate(episode.utterances[first:], first)
        )


_OWN_END = (
    StopReason.FAREWELL,
    StopReason.SUPPORTER_CLOSED,
    StopReason.JUDGER,
    StopReason.LEFT,
)


class PrematureClosure(RecordFilter):
    """Finds conversations that were closed before they began, or in which somebody tried to."""

    name: ClassVar[str] = "premature_closure"

    before: Annotated[int, Field(ge=1)] = Field(
        6, description="an end, or a farewell, before this many utterances is premature"
    )

    def examine(self, episode: Episode) -> tuple[Finding, ...]:
        count = len(episode.utterances)
        if episode.stop in _OWN_END and count < self.before:
            return (self.drop(f"ended too early ({episode.stop.value})", value=count),)
        found = []
        for index, utterance in enumerate(episode.utterances[: self.before]):
            if index + 2 < count and closing_kind(utterance.text) == "farewell":
                reason = f"{utterance.role.value} says goodbye too early"
                found.append(self.flag(reason, index, excerpt(utterance.text)))
        return tuple(found)
