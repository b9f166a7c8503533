"""Repetition: a speaker who repeats an utterance, and words that loop within one utterance."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, ClassVar

from pydantic import Field

from .....agents.roles import Role
from ....episodes.episode import Episode
from ...tags import Finding
from .base import RecordFilter, excerpt, said_by
from .text import tokens

MAX_LOOP_WORDS = 24
"""Maximum length, in words, of the repeated run that is searched for."""
MIN_REPEATED_WORDS = 5
"""Minimum number of repeated words in a loop: six times one word, or three times three."""


@dataclass(frozen=True, slots=True)
class Loop:
    """A run of words that follows itself.

    Attributes:
        size: words of the run.
        words: words of the whole loop, the first time included.
    """

    size: int
    words: int


def loop_of(words: list[str]) -> Loop | None:
    """The longest loop; one of three words or more counts from the third time, else from the sixth.

    `a b c a b c a b c` is a loop of size 3 and 9 words; "no no no" is speech.
    """
    if len(words) - len(set(words)) < MIN_REPEATED_WORDS:
        return None
    found: Loop | None = None
    for size in range(1, min(MAX_LOOP_WORDS, len(words) // 3) + 1):
        least = 3 if size >= 3 else 6
        run = 0
        for place in range(size, len(words) + 1):
            if place < len(words) and words[place] == words[place - size]:
                run += 1
                continue
            length = run + size
            if length >= size * least and (found is None or length > found.words):
                found = Loop(size, length)
            run = 0
    return found


class Repetition(RecordFilter):
    """Drops dialogues in which a speaker goes round in circles; trims messages sent twice.

    Two utterances are near-identical if they share most of their distinct words (Jaccard). Short
    ones ("thank you", "I don't know") may come again. A loop drops if it is most of an utterance.
    """

    name: ClassVar[str] = "repetition"
    trims: ClassVar[bool] = True

    near: Annotated[float, Field(gt=0, le=1)] = Field(
        0.85, description="share of common words from which two utterances are near-identical"
    )
    min_words: Annotated[int, Field(ge=1)] = Field(
        6, description="shorter utterances are not compared"
    )
    repeats: Annotated[int, Field(ge=1)] = Field(
        2,
        description="repeated utterances of one speaker that drop the dialogue; fewer are flagged",
    )

    def examine(self, episode: Episode) -> tuple[Finding, ...]:
        spoken = [tokens(u.text) for u in episode.utterances]
        found = [
            self.trim("the same message twice in a row", later, "", excerpt(two.text))
            for later, (one, two) in enumerate(pairwise(episode.utterances), 1)
            if one.role == two.role and spoken[later] == spoken[later - 1] != []
        ]
        for index, words in enumerate(spoken):
            if loop := loop_of(words):
                mostly = 2 * loop.words >= len(words)
                make = self.drop if mostly and (loop.size >= 3 or loop.words >= 10) else self.flag
                found.append(make("words that go round", index, loop.words))
        for role in (Role.SEEKER, Role.SUPPORTER):
            found += self._repeated(episode, spoken, role)
        return tuple(found)

    def _repeated(self, episode: Episode, spoken: list[list[str]], role: Role) -> list[Finding]:
        seen: list[frozenset[str]] = []
        again: list[int] = []
        for index, _ in said_by(episode, role):
            if len(spoken[index]) < self.min_words:
                continue
            distinct = frozenset(spoken[index])
            if any(self._same(distinct, earlier) for earlier in seen):
                again.append(index)
            else:
                seen.append(distinct)
        make = self.drop if len(again) >= self.repeats else self.flag
        reason = f"{role.value} says the same again"
        return [make(reason, index, excerpt(episode.utterances[index].text)) for index in again]

    def _same(self, one: frozenset[str], other: frozenset[str]) -> bool:
        small, large = sorted((len(one), len(other)))
        if small < self.near * large:  # the sizes alone rule it out
            return False
        common = len(one & other)
        return common >= self.near * (small + large - common)
