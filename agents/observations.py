"""What each role may know, and what each role may do.

An observation holds only what its role is allowed to see (FPEMF §3.1, SweetieChat §3.1): the
seeker's scenario and profile appear in no other role's observation, and the counselor's advice only
in the supporter's. A prompt is rendered from an observation and from nothing else, so privacy is a
matter of types here, not of care.

The part that stays the same during an episode is the *brief*; prompts begin with it, so that an
engine's prefix cache can serve the rest of the episode.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..core.record import quick
from ..policies.base import Message
from .roles import Role, Strategy


@quick
@dataclass(frozen=True, slots=True)
class Turn:
    """One utterance as others heard it. `role` is seeker or supporter."""

    role: Role
    text: str
    _own: Message | None = field(default=None, init=False, repr=False, compare=False)
    _others: Message | None = field(default=None, init=False, repr=False, compare=False)

    def message(self, own: bool) -> Message:
        """It as a chat message: the assistant's where it is one's own, else the user's.

        One object for all prompts that it stands in, so that thousands of open conversations share
        and compare their messages cheaply.
        """
        kept = self._own if own else self._others
        if kept is None:
            kept = Message("assistant" if own else "user", self.text)
            object.__setattr__(self, "_own" if own else "_others", kept)
        return kept


@dataclass(frozen=True, slots=True)
class CaseTurn:
    """One utterance of a case dialogue; the supporter's carry the strategy they show."""

    role: Role
    text: str
    strategy: Strategy | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A finished dialogue of the same kind of problem, shown to the supporter as an example.

    Compared by identity, so that briefs are cheap to look up; a `CasePool` makes each case once.
    """

    problem_type: str
    turns: tuple[CaseTurn, ...]


@dataclass(frozen=True, slots=True)
class SeekerBrief:
    """What the seeker knows of itself, and nobody else knows."""

    problem_type: str
    situation: str
    profile: str


@dataclass(frozen=True, slots=True)
class SupporterBrief:
    """What the supporter knows before the conversation."""

    problem_type: str
    cases: tuple[Case, ...] = ()


@quick
@dataclass(frozen=True, slots=True)
class SeekerObservation:
    """The seeker's view.

    Attributes:
        brief: constant during the episode.
        history: the latest utterances, oldest first, within the history window.
        turn: how many utterances of its own came before (0 for the first).
    """

    brief: SeekerBrief
    history: tuple[Turn, ...]
    turn: int = 0


@quick
@dataclass(frozen=True, slots=True)
class CounselorObservation:
    """The counselor's view: the dialogue so far. `turn` is the number of the exchange, from 0."""

    history: tuple[Turn, ...]
    turn: int = 0


@quick
@dataclass(frozen=True, slots=True)
class SupporterObservation:
    """The supporter's view: its brief, the history window, and the strategy advised, if any."""

    brief: SupporterBrief
    history: tuple[Turn, ...]
    strategy: Strategy | None = None
    turn: int = 0


@quick
@dataclass(frozen=True, slots=True)
class JudgerObservation:
    """The judger's view: the dialogue so far. `turn` is the number of the exchange, from 0."""

    history: tuple[Turn, ...]
    turn: int = 0


Observation = SeekerObservation | CounselorObservation | SupporterObservation | JudgerObservation


@quick
@dataclass(frozen=True, slots=True)
class Say:
    """Speak.

    Attributes:
        text: the utterance; empty only when `closes`.
        closes: the speaker asks to end the conversation (the papers' `N/A`).
        repairs: what was taken out of the raw reply, by name.
    """

    text: str
    closes: bool = False
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Advise:
    """Choose a strategy for the supporter; None where the answer could not be read."""

    strategy: Strategy | None


@dataclass(frozen=True, slots=True)
class Judge:
    """Whether the conversation is over; None where the verdict could not be read."""

    end: bool | None


Action = Say | Advise | Judge
