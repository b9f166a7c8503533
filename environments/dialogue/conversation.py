"""One conversation under way: the loop, its limits and its end.

One exchange: the seeker speaks, the counselor advises a strategy, the supporter answers, the judger
says whether it is over (FPEMF §3.1.4).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass
from typing import NoReturn

from ...agents.base import A, Agent, O
from ...agents.checking import checked_action, checked_request
from ...agents.observations import (
    Case,
    Judge,
    Say,
    SeekerBrief,
    SeekerObservation,
    SupporterBrief,
    SupporterObservation,
)
from ...agents.roles import Role, Strategy
from ...agents.speech import is_farewell, strip_greeting
from ...core.errors import (
    ContentRefused,
    ParticipantLeft,
    PolicyCrashed,
    PolicyError,
    UnreadableReply,
    Unsupported,
    WarmlineError,
)
from ...core.outside.text import is_blank
from ...core.tasks import READ_IN_PLACE, aside
from ...policies.asking import ask_policy
from ...policies.base import Reply, Request, Usage, capabilities_of, policy_name, refuse_too_long
from ...policies.human.policy import in_crisis, is_person
from ...policies.safety import CRISIS_GUIDANCE, crisis_kinds
from ...policies.text.sentences import cap_sentences
from ..episodes.episode import Speaker, StopReason
from .limits import Limits
from .seating import Seats
from .spoken import Observer, Spoken
from .state import Dialogue
from .view import counselor_view, judger_view, seeker_view, supporter_view

EMPTY_REASKS = 2
"""How often an empty utterance is asked for again, each time with the next call's seed."""

PERSON_MIN_TURNS = 8
"""Utterances before the judger is asked, where a person speaks and `min_turns` is 0: else the talk
could be over after its first exchange."""

GUIDANCE = "crisis_guidance"
"""Names the policy of a supporter's turn that is the help-line guidance, in a model's place."""


@dataclass(frozen=True, slots=True)
class PendingCall:
    """A request on its way, and what will be its reply."""

    request: Request
    reply: Awaitable[Reply]


class Conversation:
    """Plays one conversation.

    Args:
        seats: who plays it.
        limits: what is enforced.
        dialogue: where everything is kept.
        observe: called with every utterance and verdict.
        cases: case dialogues shown to the supporter.
        speculative: ask the seeker for its next utterance while the judger decides.
    """

    def __init__(
        self,
        seats: Seats,
        limits: Limits,
        dialogue: Dialogue,
        observe: Observer,
        *,
        cases: tuple[Case, ...] = (),
        speculative: bool = False,
    ) -> None:
        self.seats = seats
        self.limits = limits
        self.dialogue = dialogue
        self.observe = observe
        self.speculative = speculative
        scenario = dialogue.scenario
        self._seeker_brief = SeekerBrief(
            scenario.problem_type, scenario.situation, str(scenario.profile)
        )
        self._supporter_brief = SupporterBrief(scenario.problem_type, cases)
        self._ahead: asyncio.Task[Reply] | None = None
        self._seeker_is_person = is_person(seats.seeker.policy)
        self._min_turns = self.limits.min_turns
        if not self._min_turns and (self._seeker_is_person or is_person(seats.supporter.policy)):
            self._min_turns = PERSON_MIN_TURNS
        self._person_in_crisis = False

    async def play(self) -> StopReason:
        """Play to the end.

        Raises:
            PolicyError: a policy failed; the failed call is recorded.
        """
        pending: PendingCall | None = None
        try:
            while True:
                await self._speak(self.seats.seeker, self._seeker_sees(), pending=pending)
                if stop := self._limit():
                    return stop
                if self._person_in_crisis and _is_small(self.seats.supporter):
                    self._say_guidance()
                    if stop := self._limit():
                        return stop
                    continue
                strategy = await self._advise()
                if stop := self._limit():
                    return stop
                seen = self._supporter_sees(strategy)
                closes = await self._speak(self.seats.supporter, seen, strategy=strategy)
                if stop := self._closed(closes):
                    return stop
                stop, pending = await self._judge()
                if stop or (stop := self._limit()):
                    return stop
        finally:
            if self._ahead is not None:
                self._ahead.cancel()

    # The four roles

    def _seeker_sees(self) -> SeekerObservation:
        return seeker_view(
            self._seeker_brief, self.dialogue.turns, window=self.limits.history_window
        )

    def _supporter_sees(self, strategy: Strategy | None) -> SupporterObservation:
        return supporter_view(
            self._supporter_brief,
            self.dialogue.turns,
            strategy=strategy,
            window=self.limits.history_window,
        )

    async def _speak(
        self,
        agent: Agent[O, Say],
        observation: O,
        *,
        strategy: Strategy | None = None,
        pending: PendingCall | None = None,
    ) -> bool:
        """Let a speaker speak; returns whether it asks to close the conversation."""
        speaker: Speaker = Role.SEEKER if agent.role is Role.SEEKER else Role.SUPPORTER
        for _ in range(1 + EMPTY_REASKS):
            said, reply, call = await self._ask(agent, observation, pending)
            pending = None
            closes = said.closes and speaker is Role.SUPPORTER
            if len(said.text) <= READ_IN_PLACE:
                text, repairs, crisis = self._within_limits(said, speaker)
            else:
                text, repairs, crisis = await aside(
                    len(said.text), self._within_limits, said, speaker
                )
            if not is_blank(text):
                utterance = self.dialogue.say(
                    speaker, text, reply.text, call=call, crisis=crisis, strategy=strategy,
                    repairs=repairs,
                )  # fmt: skip
                self.observe(Spoken(self.dialogue.scenario.id, utterance))
                if speaker is Role.SEEKER and self._seeker_is_person:
                    self._person_in_crisis = bool(utterance.crisis) or in_crisis(reply)
                return closes
            if closes:
                return True
        thought = " but thought" if reply.thinking else ""
        raise UnreadableReply(
            f"the {speaker.value} ('{policy_name(agent.policy)}') said nothing{thought},"
            f" {1 + EMPTY_REASKS} times in a row",
            hint="raise max_tokens, or look at the raw replies in the episode's calls",
        )

    def _within_limits(
        self, said: Say, speaker: Speaker
    ) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        """What others hear of what was said, what was done to it, and its crisis language."""
        text, repairs = said.text, said.repairs
        has_spoken = speaker in [turn.role for turn in self.dialogue.turns[-2:]]
        if self.limits.trim_greetings and has_spoken and (rest := strip_greeting(text)) != text:
            text = rest
            repairs = (*repairs, "greeting")
        text, cut = cap_sentences(text, self.limits.max_sentences)
        if cut:
            repairs = (*repairs, "sentence_cap")
        return text, repairs, crisis_kinds(text)

    def _say_guidance(self) -> None:
        """Give a person in crisis the help-line guidance: a small model must not answer them.

        The turn stands in the record as a call that the model was not asked. It is never cut.
        """
        request = self._request(self.seats.supporter, self._supporter_sees(None))
        held = {"held_back": policy_name(self.seats.supporter.policy)}
        reply = Reply(CRISIS_GUIDANCE, policy=GUIDANCE, usage=Usage(), notes={GUIDANCE: held})
        call = self.dialogue.record(request, self.seats.supporter.policy, reply)
        said = self.dialogue.say(
            Role.SUPPORTER, reply.text, reply.text, call=call, crisis=crisis_kinds(reply.text)
        )
        self.observe(Spoken(self.dialogue.scenario.id, said))

    async def _advise(self) -> Strategy | None:
        if self.seats.counselor is None:
            return None
        view = counselor_view(self.dialogue.turns)
        with suppress(ContentRefused):  # no advice; the call is in the record
            advice, _, _ = await self._ask(self.seats.counselor, view)
            return advice.strategy
        return None

    async def _judge(self) -> tuple[StopReason | None, PendingCall | None]:
        """The judger's verdict, and the seeker's next reply if it was asked for meanwhile."""
        turns = self.dialogue.turns
        if self.seats.judger is None or len(turns) < self._min_turns:
            return None, None
        pending: PendingCall | None = None
        if self.speculative and len(turns) < self.limits.max_turns:
            pending = self._ask_ahead()
        try:
            verdict, _, call = await self._ask(self.seats.judger, judger_view(turns))
        except ContentRefused:  # a missing verdict
            verdict, call = Judge(None), self.dialogue.last_call
        self.observe(Spoken(self.dialogue.scenario.id, self.dialogue.judge(verdict.end, call)))
        return (StopReason.JUDGER, None) if verdict.end else (None, pending)

    def _ask_ahead(self) -> PendingCall:
        """Ask the seeker as if the judger, whose call comes first, had let the talk go on."""
        request = self._request(self.seats.seeker, self._seeker_sees(), calls_before=1)
        self._ahead = asyncio.create_task(ask_policy(self.seats.seeker.policy, request))
        self._ahead.add_done_callback(_retrieve)
        return PendingCall(request, self._ahead)

    # Limits and ends

    def _closed(self, closes: bool) -> StopReason | None:
        """Whether the speakers themselves have come to the end."""
        if closes:
            return StopReason.SUPPORTER_CLOSED
        last_two = self.dialogue.turns[-2:]
        if self.limits.stop_on_farewell and all(is_farewell(turn.text) for turn in last_two):
            return StopReason.FAREWELL
        return None

    def _limit(self) -> StopReason | None:
        """Whether a limit is reached."""
        if len(self.dialogue.turns) >= self.limits.max_turns:
            return StopReason.TURN_LIMIT
        budget = self.limits.token_budget
        if budget is not None and self.dialogue.tokens >= budget:
            return StopReason.TOKEN_BUDGET
        return None

    # One call

    def _request(self, agent: Agent[O, A], observation: O, *, calls_before: int = 0) -> Request:
        try:
            request = agent.request(
                observation,
                seed=self.dialogue.next_seed(calls_before),
                session=f"{self.dialogue.scenario.id}/{agent.role.value}",
                max_sentences=self.limits.max_sentences,
            )
            return checked_request(request, agent)
        except Exception as error:  # noqa: BLE001 - told apart there
            _raise_as_crash(error)

    async def _ask(
        self, agent: Agent[O, A], observation: O, pending: PendingCall | None = None
    ) -> tuple[A, Reply, int]:
        """Ask (or take what was asked ahead), record, read."""
        request = pending.request if pending else self._request(agent, observation)
        try:
            try:
                reply = await (pending.reply if pending else ask_policy(agent.policy, request))
            except Exception as error:  # noqa: BLE001 - told apart there
                _raise_as_crash(error)
            refuse_too_long(len(reply.text), self.limits.max_reply_chars)
        except ParticipantLeft:  # an end, not a failed call
            raise
        except PolicyError as error:
            self.dialogue.record(request, agent.policy, error)
            raise
        call = self.dialogue.record(request, agent.policy, reply)
        if self.limits.token_budget is not None and reply.usage is None:
            raise Unsupported(
                f"token_budget is set, but policy '{policy_name(agent.policy)}' does not report"
                " the tokens it used",
                hint="leave token_budget out, or use an engine that reports usage",
            )
        try:
            if len(reply.text) <= READ_IN_PLACE:
                action = agent.read(reply)
            else:
                action = await aside(len(reply.text), agent.read, reply)
            return checked_action(action, agent), reply, call
        except Exception as error:  # noqa: BLE001 - told apart there
            _raise_as_crash(error)


def _raise_as_crash(error: Exception) -> NoReturn:
    """Raise what a user's policy or agent raised.

    Raises:
        PolicyCrashed: in place of what is not a deliberate error.
    """
    if isinstance(error, WarmlineError | MemoryError):
        raise error
    raise PolicyCrashed(error) from error


def _is_small(agent: Agent[O, A]) -> bool:
    able = capabilities_of(agent.policy)
    return able is not None and able.small_model


def _retrieve(task: asyncio.Task[Reply]) -> None:
    """Look at the outcome of a dropped task, so that asyncio does not report it as forgotten."""
    if not task.cancelled():
        task.exception()
