"""Broken turns: nothing said, unreadable characters, cut off in the middle, one voice alone."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Annotated, ClassVar

from pydantic import Field

from .....policies.base import FinishReason
from .....policies.text.sentences import cap_sentences, count_sentences
from ....episodes.episode import Episode, StopReason, Utterance
from ...tags import Finding
from .base import RecordFilter, excerpt

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe]+")
_LOST = re.compile("[\ufffd\ud800-\udfff]")
_ENDED = re.compile(r"[.!?…。！？~)\]）】\"'”’」:;*]\s*$|[^\w\s]\s*$")


class Broken(RecordFilter):
    """Drops episodes that failed or whose turns are damaged; trims what can be.

    Control characters are taken out. An utterance that was cut off by `max_tokens` goes back to its
    last whole sentence.

    That a speaker is not followed by the other is dropped where we simulated (it cannot be), and
    only flagged in imported conversations: people send two messages in a row.
    """

    name: ClassVar[str] = "broken"
    trims: ClassVar[bool] = True

    max_cut: Annotated[float, Field(ge=0, le=1)] = Field(
        0.2,
        description="share of utterances cut off by max_tokens in their only sentence above which"
        " the dialogue is dropped",
    )

    def examine(self, episode: Episode) -> tuple[Finding, ...]:
        found: list[Finding] = []
        if episode.stop.failed:
            found.append(
                self.drop("ended in an error", value=episode.error.type if episode.error else None)
            )
        if not episode.utterances:
            return (*found, self.drop("no utterance at all"))
        for index, utterance in enumerate(episode.utterances):
            found += self._damage(index, utterance.text)
        return (*found, *self._cut(episode), *self._alternation(episode))

    def _damage(self, index: int, text: str) -> list[Finding]:
        readable = _CONTROL.sub("", text)
        if not any(map(_visible, readable)):
            return [self.drop("an empty utterance", index)]
        found = []
        if readable != text:
            found.append(self.trim("control characters", index, readable))
        if lost := _LOST.search(text):
            found.append(self.drop("a lost character", index, f"U+{ord(lost.group()):04X}"))
        return found

    def _cut(self, episode: Episode) -> list[Finding]:
        """Back to the last whole sentence; where not even one is whole, nothing can be kept."""
        texts = {i: u.text for i, u in enumerate(episode.utterances) if cut_off(episode, u)}
        kept = {i: cap_sentences(text, count_sentences(text) - 1)[0] for i, text in texts.items()
                if count_sentences(text) > 1}  # fmt: skip
        lost = [i for i in texts if i not in kept]
        make = self.drop if len(lost) > self.max_cut * len(episode.utterances) else self.flag
        return [
            *(self.trim("cut off by max_tokens", i, text, excerpt(texts[i][-40:]))
              for i, text in kept.items()),
            *(make("cut off in its only sentence", i, excerpt(texts[i][-40:])) for i in lost),
        ]  # fmt: skip

    def _alternation(self, episode: Episode) -> list[Finding]:
        roles = [u.role for u in episode.utterances]
        if len(roles) > 1 and len(set(roles)) == 1:
            return [self.drop(f"only the {roles[0].value} speaks", value=len(roles))]
        same = sum(a == b for a, b in pairwise(roles))
        if not same:
            return []
        recorded = episode.stop is StopReason.RECORDED
        make = self.flag if recorded else self.drop
        return [make("one speaker twice in a row", value=same)]


def _visible(char: str) -> bool:
    return not char.isspace() and char.isprintable()


def cut_off(episode: Episode, utterance: Utterance) -> bool:
    """Whether the engine stopped for want of tokens and the text shows it: no mark at its end."""
    if utterance.call is None:
        return False
    call = episode.calls[utterance.call]
    return call.finish_reason is FinishReason.LENGTH and not _ENDED.search(utterance.text)
