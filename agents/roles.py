"""The papers' four roles, eight support strategies and three stages of help."""

from __future__ import annotations

from enum import StrEnum

from ..core.published import published_strategy_shares


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

    Case, surrounding punctuation and a few common spellings ("Questions", "Self Disclosure") are
    tolerated, short forms ("Reflection") only alone; guessing is not.
    """
    plain = _plain(text)
    if (exact := _BY_PLAIN.get(plain) or _SHORT_FORMS.get(plain)) is not None:
        return exact
    named = {strategy for name, strategy in _BY_PLAIN.items() if f" {name} " in f" {plain} "}
    return named.pop() if len(named) == 1 else None


def _plain(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


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
