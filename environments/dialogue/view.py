"""What a role sees of a dialogue: the only place where observations are made from what was said.

The dialogue loop, evaluation and training all call these functions, so a model is trained and
measured on the prompts that it gets when it is seated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ...agents.observations import (
    CounselorObservation,
    JudgerObservation,
    SeekerBrief,
    SeekerObservation,
    SupporterBrief,
    SupporterObservation,
    Turn,
)
from ...agents.roles import Role, Strategy
from .limits import HISTORY_WINDOW


class UtteranceLike(Protocol):
    """Something that one of the speakers said: an utterance of an episode, or a turn."""

    @property
    def role(self) -> Role: ...

    @property
    def text(self) -> str: ...


class Heard(list[Turn]):
    """The turns of an open dialogue. Each of them has text; nobody hears an empty one."""


def turns_of(said: Sequence[UtteranceLike]) -> list[Turn]:
    """What was said, as others heard it."""
    return [Turn(one.role, one.text) for one in said]


def latest(said: Sequence[Turn], window: int | None) -> tuple[Turn, ...]:
    """The latest `window` turns, or all; those without text are not shown."""
    start = 0 if window is None else max(0, len(said) - window)
    if isinstance(said, Heard):
        return tuple(said[start:])
    return tuple([turn for turn in said[start:] if turn.text.strip()])


def seeker_view(
    brief: SeekerBrief, said: Sequence[Turn], *, window: int | None = HISTORY_WINDOW
) -> SeekerObservation:
    """What the seeker sees before its next utterance.

    Args:
        brief: what it knows of itself.
        said: the whole dialogue so far.
        window: latest turns shown; None shows all.
    """
    return SeekerObservation(brief, latest(said, window), _exchange(said))


def supporter_view(
    brief: SupporterBrief,
    said: Sequence[Turn],
    *,
    strategy: Strategy | None = None,
    window: int | None = HISTORY_WINDOW,
) -> SupporterObservation:
    """What the supporter sees before its next utterance.

    Args:
        brief: what it knows before the conversation.
        said: the whole dialogue so far.
        strategy: advised for this utterance.
        window: latest turns shown; None shows all.
    """
    return SupporterObservation(brief, latest(said, window), strategy, _exchange(said))


def counselor_view(said: Sequence[Turn]) -> CounselorObservation:
    """What the counselor sees: the whole dialogue so far, the seeker's turn last."""
    return CounselorObservation(latest(said, None), _exchange(said))


def judger_view(said: Sequence[Turn]) -> JudgerObservation:
    """What the judger sees: the whole dialogue so far, the supporter's turn last."""
    return JudgerObservation(latest(said, None), _exchange(said) - 1)


def _exchange(said: Sequence[Turn]) -> int:
    """The number of the current exchange, from 0: so many are finished."""
    return len(said) // 2
