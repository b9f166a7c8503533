"""Lengths: utterances of a dialogue, words of an utterance, sentences of an utterance."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from .....policies.text.sentences import cap_sentences
from ....episodes.episode import Episode, StopReason
from ...tags import Finding
from .base import RecordFilter
from .text import word_count


class Length(RecordFilter):
    """Drops dialogues that are too short or too long (SweetieChat App. C.1); flags long utterances.

    The papers give no number. Eight utterances is the least in the published form of ESConv; the
    upper ends are wide, since human conversations are long.
    """

    name: ClassVar[str] = "length"

    min_utterances: Annotated[int, Field(ge=0)] = Field(8, description="fewer drop the dialogue")
    max_utterances: Annotated[int, Field(ge=1)] = Field(120, description="more drop the dialogue")
    min_words: Annotated[float, Field(ge=0)] = Field(
        3.0, description="words per utterance, on average; fewer drop the dialogue"
    )
    max_words: Annotated[int, Field(ge=1)] = Field(
        150, description="words of one utterance; more are flagged"
    )

    def examine(self, episode: Episode) -> tuple[Finding, ...]:
        found: list[Finding] = []
        count = len(episode.utterances)
        if count < self.min_utterances:
            found.append(self.drop("too few utterances", value=count))
        if count > self.max_utterances:
            found.append(self.drop("too many utterances", value=count))
        words = [word_count(u.text) for u in episode.utterances]
        if count and sum(words) / count < self.min_words:
            found.append(self.drop("hardly any words", value=round(sum(words) / count, 2)))
        for index, spoken in enumerate(words):
            if spoken > self.max_words:
                found.append(self.flag("a very long utterance", index, spoken))
        return tuple(found)


class SentenceCap(RecordFilter):
    """Trims utterances to at most three sentences (FPEMF §3.2, SweetieChat §4.1).

    The papers cap what they simulate. What people said is evidence, and most of their dialogues
    hold a longer utterance, so in imported conversations it is only flagged.
    """

    name: ClassVar[str] = "sentence_cap"
    trims: ClassVar[bool] = True

    max_sentences: Annotated[int, Field(ge=1)] = Field(3, description="sentences kept")
    trim_imported: bool = Field(
        False, description="trim imported conversations too, instead of flagging them"
    )

    def examine(self, episode: Episode) -> tuple[Finding, ...]:
        reason = "more sentences than the cap"
        only_flag = episode.stop is StopReason.RECORDED and not self.trim_imported
        found = []
        for index, utterance in enumerate(episode.utterances):
            text, cut = cap_sentences(utterance.text, self.max_sentences)
            if cut and text:
                flagged = only_flag and self.flag(reason, index, cut)
                found.append(flagged or self.trim(reason, index, text, cut))
        return tuple(found)
