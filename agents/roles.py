"""The papers' four roles, eight support strategies and three stages of help."""

from __future__ import annotations

import re
from enum import StrEnum

from ..core.published import published_strategy_shares
from ..policies.answers import match_choice


class Role(StrEnum):
    """Who sits where. Seeker and supporter speak; counselor and judger advise the environment."""

    SEEKER = "seeker"
    COUNSELOR = "counselor"
    SUPPORTER = "supporter"
    JUDGER = "judger"


class Stage(StrEnum):
    """Stages of help (Hill 2009)."""

    EXPLORATION = "exploration"
    COMFORTING = "comforting"
    ACTION = "action"


class Strategy(StrEnum):
    """The support strategies of ESConv, with the labels the papers print."""

    QUESTION = "Question"
    RESTATEMENT = "Restatement or Paraphrasing"
    REFLECTION = "Reflection of Feelings"
    SELF_DISCLOSURE = "Self-disclosure"
    AFFIRMATION = "Affirmation and Reassurance"
    SUGGESTION = "Providing Suggestions"
    INFORMATION = "Information"
    OTHERS = "Others"

    @property
    def definition(self) -> str:
        """One line in our words (after Self-Evolution, App. E.1)."""
        return _DEFINITIONS[self]

    @property
    def share(self) -> float:
        """Share of supporter turns in ESConv (SweetieChat, Table 2)."""
        return round(published_strategy_shares()["ESConv"][self.value] / 100, 4)


_DEFINITIONS = {
    Strategy.QUESTION: "ask about what happened or how it feels, openly, so that the person can say more",
    Strategy.RESTATEMENT: "say back in fewer, other words what the person told, so that they can check and go on",
    Strategy.REFLECTION: "name the feeling behind the words, gently and without judging it",
    Strategy.SELF_DISCLOSURE: "share briefly something alike that you went through or felt, and return to the person",
    Strategy.AFFIRMATION: "point out a strength or an effort you see, and encourage",
    Strategy.SUGGESTION: "offer one or two small possible steps, leaving the choice to the person",
    Strategy.INFORMATION: "give a helpful fact, a resource, or say what is common in such a situation",
    Strategy.OTHERS: "greet, thank, say goodbye, or answer in a way that fits none of the others",
}
STRATEGY_LABELS: tuple[str, ...] = tuple(s.value for s in Strategy)


def parse_strategy(text: str) -> Strategy | None:
    """The strategy that a free answer names, or None if it names none or more than one.

    Case, surrounding punctuation, signs for "and" ("Affirmation & Reassurance") and a few common
    spellings ("Questions", "Self Disclosure") are tolerated, short forms ("Reflection") only alone;
    guessing is not. Of several, the one that is given as the answer counts ("**Question**: ...").
    """
    if (label := _BY_LABEL.get(text)) is not None:
        return label
    plain = _plain(text)
    if (exact := _BY_PLAIN.get(plain) or _SHORT_FORMS.get(plain)) is not None:
        return exact
    if (same := _BY_WORDS.get(_words(plain))) is not None:
        return same
    padded = _NEGATED.sub(" ", f" {plain} ")
    named = {strategy for name, strategy in _BY_PLAIN.items() if f" {name} " in padded}
    if len(named) > 1 and (stated := match_choice(text, STRATEGY_LABELS)) is not None:
        return Strategy(stated)
    return named.pop() if len(named) == 1 else None


def _plain(text: str) -> str:
    joined = _AND_SIGN.sub(" and ", text.lower())
    return " ".join("".join(c if c.isalnum() else " " for c in joined).split())


def _words(plain: str) -> frozenset[str]:
    """The words of a label without those that join them."""
    return frozenset(plain.split()) - {"and", "or"}


_AND_SIGN = re.compile(r"[&+/]")


_BY_LABEL = {strategy.value: strategy for strategy in Strategy}
_BY_PLAIN = {_plain(strategy.value): strategy for strategy in Strategy} | {
    "questions": Strategy.QUESTION,
    "other": Strategy.OTHERS,
    "restatement": Strategy.RESTATEMENT,
    "paraphrasing": Strategy.RESTATEMENT,
    "suggestions": Strategy.SUGGESTION,
}
_SHORT_FORMS = {
    "reflection": Strategy.REFLECTION,
    "reflection of feeling": Strategy.REFLECTION,
    "reflecting feelings": Strategy.REFLECTION,
    "paraphrase": Strategy.RESTATEMENT,
    "affirmation": Strategy.AFFIRMATION,
    "reassurance": Strategy.AFFIRMATION,
    "suggestion": Strategy.SUGGESTION,
    "providing suggestion": Strategy.SUGGESTION,
}
_BY_WORDS = {
    _words(_plain(strategy.value)): strategy
    for strategy in Strategy
    if _words(_plain(strategy.value)) != frozenset(_plain(strategy.value).split())
}
_NEGATED = re.compile(
    r" (?:not|t|never|avoid|rather than|instead of) (?:(?:a|an|the|use|using|choose|ask) )*"
    rf"(?:{'|'.join(sorted(_BY_PLAIN, key=len, reverse=True))})(?= )"
)
