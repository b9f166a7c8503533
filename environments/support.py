"""The support environment: seats four roles, owns turns, limits and the end (000 §3.1.4).

One exchange: the seeker speaks, the counselor advises a strategy, the supporter answers, the judger
says whether it is over. The environment drives the agents itself; `as_team` shows the same thing to
AutoGen.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Self

from pydantic import Field

from ..agents.base import A, Agent, O
from ..agents.counselor import StrategyCounselor
from ..agents.judger import Judger
from ..agents.observations import (
    CounselorObservation,
    JudgerObservation,
    Say,
    SeekerBrief,
    SeekerObservation,
    SupporterBrief,
    SupporterObservation,
)
from ..agents.roles import Role, Strategy
from ..agents.seeker import Seeker
from ..agents.speech import is_farewell, strip_greeting
from ..agents.supporter import Supporter
from ..policies.base import (
    Policy,
    Reply,
    Request,
    close_policy,
    open_policy,
    policy_name,
)
from ..policies.errors import (
    ParticipantLeft,
    PolicyError,
    UnreadableReply,
    Unsupported,
)
from ..policies.sentences import cap_sentences
from .dialogue import Dialogue
from .episode import Episode, Speaker, StopReason, Utterance, Verdict
from .scenarios import Record, Scenario
from .seating import seat
from .seed_pool import CasePool

EMPTY_REASKS = 2
"""How often an empty utterance is asked for again, each time with the next call's seed."""


class Limits(Record):
    """What the environment enforces; defaults are the papers' where they say."""

    max_turns: Annotated[int, Field(ge=1)] = Field(
        20, description="utterances of seeker and supporter together"
    )
    max_sentences: Annotated[int, Field(ge=1)] = Field(
        3, description="sentences kept of each utterance (000 §3.2, 001 §4.1)"
    )
    history_window: Annotated[int, Field(ge=1)] = Field(
        6, description="utterances shown to the speaking roles (001 Fig. 12)"
    )
    case_dialogues: Annotated[int, Field(ge=0)] = Field(
        3, description="examples shown to the supporter (000 §3.1.3)"
    )
    min_turns: Annotated[int, Field(ge=0)] = Field(
        0, description="the judger is not asked before this many utterances"
    )
    token_budget: Annotated[int, Field(ge=1)] | None = Field(
        None, description="tokens of prompts and answers after which an episode ends"
    )
    trim_greetings: bool = Field(
        True, description="cut greetings after a speaker's first utterance"
    )
    stop_on_farewell: bool = Field(
        True, description="end when both have said goodbye, one after the other"
    )


@dataclass(frozen=True, slots=True)
class Spoken:
    """An event: an utterance or a verdict was added to the conversation `episode`."""

    episode: str
    what: Utterance | Verdict


Observer = Callable[[Spoken], None]


class SupportEnvironment:
    """Two speakers and their two optional advisers, under limits.

    Args:
        seeker, supporter: an agent, a policy, or any AutoGen chat agent (or a function that makes
            one); a bare policy gets the role's standard agent.
        counselor, judger: likewise, or None to leave the seat empty.
        cases: pool of case dialogues for the supporter; the shipped ones by default.
        limits: fields of `Limits`, as keywords.

    Raises:
        ConfigError: an unknown or impossible limit, or something that cannot take its seat.

    Example:
        ```python
        policy = warmline.ScriptedPolicy(lambda request: "I see.")
        environment = warmline.SupportEnvironment(
            seeker=warmline.Seeker(policy), supporter=warmline.Supporter(policy), max_turns=4
        )
        episode = await environment.run(scenario, seed=7)
        ```
    """

    def __init__(
        self,
        *,
        seeker: Any,
        supporter: Any,
        counselor: Any = None,
        judger: Any = None,
        cases: CasePool | None = None,
        **limits: Any,
    ) -> None:
        self.limits = Limits(**limits)
        self.seeker: Seeker = seat(seeker, Seeker)
        self.supporter: Supporter = seat(supporter, Supporter)
        self.counselor: StrategyCounselor | None = (
            seat(counselor, StrategyCounselor) if counselor is not None else None
        )
        self.judger: Judger | None = seat(judger, Judger) if judger is not None else None
        self.cases = cases or CasePool()
        self.config_hash = hashlib.sha256(
            json.dumps(self.describe(), sort_keys=True, default=str).encode()
        ).hexdigest()[:16]

    # What the environment is made of

    def agents(self) -> dict[Role, Agent[Any, Any]]:
        """The seated agents, in the order in which they act."""
        seats = {
            Role.SEEKER: self.seeker,
            Role.COUNSELOR: self.counselor,
            Role.SUPPORTER: self.supporter,
            Role.JUDGER: self.judger,
        }
        return {role: agent for role, agent in seats.items() if agent is not None}

    def policies(self) -> list[Policy]:
        """The distinct policies behind the seats."""
        return list({id(a.policy): a.policy for a in self.agents().values()}.values())

    def describe(self) -> dict[str, Any]:
        """What decides an episode besides scenario and seed, as plain data."""
        cases = [d.id for d in self.cases.dialogues] if self.limits.case_dialogues else []
        return {
            "limits": self.limits.model_dump(exclude_none=True),
            "cases": hashlib.sha256("\n".join(cases).encode()).hexdigest()[:16],
            **{role.value: agent.describe() for role, agent in self.agents().items()},
        }

    async def open(self) -> None:
        """Open every policy (load weights, reach servers), so that faults show before the start."""
        for policy in self.policies():
            await open_policy(policy)

    async def aclose(self) -> None:
        """Close every policy."""
        for policy in self.policies():
            await close_policy(policy)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    # One conversation

    async def run(
        self, scenario: Scenario, *, seed: int = 0, observe: Observer | None = None
    ) -> Episode:
        """Play one conversation to its end.

        Args:
            scenario: what it is about.
            seed: the run's seed; with the scenario's id it gives every call's seed.
            observe: called with each utterance and verdict as it happens.

        Returns:
            The record, also where a policy failed (`stop` is then `error`).

        Raises:
            PolicyError: one that is `fatal`: every other episode would fail the same way.
        """
        dialogue = Dialogue(scenario, seed, self.config_hash, datetime.now(UTC).isoformat())
        started = time.perf_counter()
        error: PolicyError | None = None
        try:
            stop = await self._converse(dialogue, observe or _ignore)
        except ParticipantLeft:
            stop = StopReason.LEFT
        except PolicyError as failure:
            if failure.fatal:
                raise
            stop, error = StopReason.ERROR, failure
        return dialogue.close(stop, seconds=time.perf_counter() - started, error=error)

    async def _converse(self, dialogue: Dialogue, observe: Observer) -> StopReason:
        brief = SeekerBrief(
            dialogue.scenario.problem_type,
            dialogue.scenario.situation,
            str(dialogue.scenario.profile),
        )
        told = SupporterBrief(
            dialogue.scenario.problem_type,
            self.cases.draw(
                dialogue.scenario.problem_type,
                self.limits.case_dialogues,
                scenario_id=dialogue.scenario.id,
            ),
        )
        while True:
            exchange = len(dialogue.turns) // 2
            window = tuple(dialogue.turns[-self.limits.history_window :])
            await self._speak(
                self.seeker, SeekerObservation(brief, window, exchange), dialogue, observe
            )
            if stop := self._limit(dialogue):
                return stop

            strategy = await self._advise(dialogue, exchange)
            if stop := self._limit(dialogue):
                return stop

            window = tuple(dialogue.turns[-self.limits.history_window :])
            closes = await self._speak(
                self.supporter,
                SupporterObservation(told, window, strategy, exchange),
                dialogue,
                observe,
                strategy=strategy,
            )
            if stop := await self._ended(dialogue, closes, exchange, observe):
                return stop
            if stop := self._limit(dialogue):
                return stop

    async def _speak(
        self,
        agent: Agent[O, Say],
        observation: O,
        dialogue: Dialogue,
        observe: Observer,
        *,
        strategy: Strategy | None = None,
    ) -> bool:
        """Let a speaker speak; returns whether it asks to close the conversation."""
        speaker: Speaker = Role.SEEKER if agent.role is Role.SEEKER else Role.SUPPORTER
        for _ in range(1 + EMPTY_REASKS):
            said, reply, call = await self._ask(agent, observation, dialogue)
            closes = said.closes and agent.role is Role.SUPPORTER
            text, repairs = self._within_limits(said, dialogue, agent.role)
            if text:
                utterance = dialogue.say(
                    speaker, text, reply.text, call=call, strategy=strategy, repairs=repairs
                )
                observe(Spoken(dialogue.scenario.id, utterance))
                return closes
            if closes:
                return True
        raise UnreadableReply(
            f"the {agent.role.value} ('{policy_name(agent.policy)}') said nothing,"
            f" {1 + EMPTY_REASKS} times in a row",
            hint="raise max_tokens, or look at the raw replies in the episode's calls",
        )

    def _within_limits(
        self, said: Say, dialogue: Dialogue, role: Role
    ) -> tuple[str, tuple[str, ...]]:
        text, repairs = said.text, list(said.repairs)
        has_spoken = any(turn.role is role for turn in dialogue.turns)
        if self.limits.trim_greetings and has_spoken and (rest := strip_greeting(text)) != text:
            text = rest
            repairs.append("greeting")
        text, cut = cap_sentences(text, self.limits.max_sentences)
        if cut:
            repairs.append("sentence_cap")
        return text, tuple(repairs)

    async def _advise(self, dialogue: Dialogue, exchange: int) -> Strategy | None:
        if self.counselor is None:
            return None
        observation = CounselorObservation(tuple(dialogue.turns), exchange)
        advice, _, _ = await self._ask(self.counselor, observation, dialogue)
        return advice.strategy

    async def _ended(
        self, dialogue: Dialogue, closes: bool, exchange: int, observe: Observer
    ) -> StopReason | None:
        """Whether the conversation has come to its own end."""
        if closes:
            return StopReason.SUPPORTER_CLOSED
        last_two = dialogue.turns[-2:]
        if self.limits.stop_on_farewell and all(is_farewell(turn.text) for turn in last_two):
            return StopReason.FAREWELL
        if self.judger is None or len(dialogue.turns) < self.limits.min_turns:
            return None
        observation = JudgerObservation(tuple(dialogue.turns), exchange)
        verdict, _, call = await self._ask(self.judger, observation, dialogue)
        observe(Spoken(dialogue.scenario.id, dialogue.judge(verdict.end, call)))
        return StopReason.JUDGER if verdict.end else None

    def _limit(self, dialogue: Dialogue) -> StopReason | None:
        """Whether a limit is reached."""
        if len(dialogue.turns) >= self.limits.max_turns:
            return StopReason.TURN_LIMIT
        budget = self.limits.token_budget
        if budget is not None and dialogue.tokens >= budget:
            return StopReason.TOKEN_BUDGET
        return None

    async def _ask(
        self, agent: Agent[O, A], observation: O, dialogue: Dialogue
    ) -> tuple[A, Reply, int]:
        """One call: ask, record, read."""
        request: Request = agent.request(
            observation,
            seed=dialogue.next_seed(),
            session=f"{dialogue.scenario.id}/{agent.role.value}",
            max_sentences=self.limits.max_sentences,
        )
        try:
            reply = await agent.policy.respond(request)
        except PolicyError as error:
            dialogue.record(request, agent.policy, error)
            raise
        call = dialogue.record(request, agent.policy, reply)
        if self.limits.token_budget is not None and reply.usage is None:
            raise Unsupported(
                f"token_budget is set, but policy '{policy_name(agent.policy)}' does not report"
                " the tokens it used",
                hint="leave token_budget out, or use an engine that reports usage",
            )
        return agent.read(reply), reply, call

    def as_team(self, scenario: Scenario, *, seed: int = 0) -> Any:
        """This environment as an AutoGen team, for AutoGen's `Console` and other tools.

        Returns:
            A `warmline.environments.team.SupportTeam` that plays `scenario`.
        """
        from .team import SupportTeam

        return SupportTeam(self, scenario, seed=seed)


def _ignore(event: Spoken) -> None:
    """Observer for nobody."""
