"""The support environment: seats four roles, owns turns, limits and the end (FPEMF §3.1.4).

The environment drives the agents itself (`conversation.py` holds the loop); `as_team` shows the
same thing to AutoGen.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Self

from ...agents.base import Agent
from ...agents.counselor import StrategyCounselor
from ...agents.judger import Judger
from ...agents.roles import Role
from ...agents.seeker import Seeker
from ...agents.supporter import Supporter
from ...core.errors import ContentRefused, ParticipantLeft, PolicyCrashed, PolicyError
from ...policies.base import Policy, close_policy, open_policy
from ..episodes.episode import Episode, StopReason
from ..scenarios.scenario import Scenario
from ..scenarios.seed_pool import CasePool
from .conversation import Conversation
from .limits import Limits
from .seating import Seats, seat
from .spoken import Observer, Spoken
from .state import Dialogue


class SupportEnvironment:
    """Two speakers and their two optional advisers, under limits.

    Args:
        seeker, supporter: an agent, a policy, or any AutoGen chat agent (or a function that makes
            one); a bare policy gets the role's standard agent.
        counselor, judger: likewise, or None to leave the seat empty.
        cases: pool of case dialogues for the supporter; the shipped ones by default.
        speculative: ask the seeker for its next utterance while the judger decides, and drop it if
            the judger ends the conversation. Saves waiting, costs the dropped tokens, changes no
            word; so it is not part of a run's identity.
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
        speculative: bool = False,
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
        self.speculative = speculative
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
            "limits": self.limits.model_dump(exclude_none=True, exclude={"max_reply_chars"}),
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
        self,
        scenario: Scenario,
        *,
        seed: int = 0,
        observe: Observer | None = None,
        keep_crashes: Callable[[], bool] | None = None,
    ) -> Episode:
        """Play one conversation to its end.

        Args:
            scenario: what it is about.
            seed: the run's seed; with the scenario's id it gives every call's seed.
            observe: called with each utterance and verdict as it happens.
            keep_crashes: asked when a policy or an agent raised something unexpected: whether that
                ends this episode alone, with the traceback in its record. It is raised by default.

        Returns:
            The record, also where a policy failed (`stop` is then `error`, or `refused`).

        Raises:
            PolicyError: one that is `fatal`: every other episode would fail the same way.
            Exception: what a policy or an agent raised unexpectedly.
        """
        dialogue = Dialogue(scenario, seed, self.config_hash, datetime.now(UTC).isoformat())
        started = time.perf_counter()
        error: PolicyError | None = None
        try:
            stop = await self._conversation(dialogue, observe or _ignore).play()
        except ParticipantLeft:
            stop = StopReason.LEFT
        except PolicyError as failure:
            if failure.fatal:
                raise
            if isinstance(failure, PolicyCrashed) and not (keep_crashes and keep_crashes()):
                raise failure.original from None
            refused = isinstance(failure, ContentRefused)
            stop, error = StopReason.REFUSED if refused else StopReason.ERROR, failure
        return dialogue.close(stop, seconds=time.perf_counter() - started, error=error)

    def _conversation(self, dialogue: Dialogue, observe: Observer) -> Conversation:
        scenario = dialogue.scenario
        return Conversation(
            Seats(self.seeker, self.supporter, self.counselor, self.judger),
            self.limits,
            dialogue,
            observe,
            cases=self.cases.draw(
                scenario.problem_type, self.limits.case_dialogues, scenario_id=scenario.id
            ),
            speculative=self.speculative,
        )

    def as_team(self, scenario: Scenario, *, seed: int = 0) -> Any:
        """This environment as an AutoGen team, for AutoGen's `Console` and other tools.

        Returns:
            A `warmline.environments.dialogue.team.SupportTeam` that plays `scenario`.
        """
        from .team import SupportTeam

        return SupportTeam(self, scenario, seed=seed)


def _ignore(event: Spoken) -> None:
    """Observer that does nothing."""
