"""The environment shown as an AutoGen team, so that AutoGen's `Console` and tools can run it.

Only a view: the environment still drives its agents itself, the team passes its utterances on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, Protocol

from autogen_agentchat.base import TaskResult, Team
from autogen_agentchat.messages import BaseAgentEvent, BaseChatMessage, TextMessage
from autogen_core import CancellationToken
from pydantic import BaseModel

from ...agents.base import ROLE_KEY
from ..episodes.episode import Episode, Utterance
from ..scenarios.scenario import Scenario
from .spoken import Observer, Spoken

Item = BaseAgentEvent | BaseChatMessage | TaskResult


class Playable(Protocol):
    """What plays one conversation: a `SupportEnvironment`."""

    async def run(
        self, scenario: Scenario, *, seed: int = 0, observe: Observer | None = None
    ) -> Episode: ...


class SupportTeam(Team):
    """One conversation of an environment as a team; `run` and `run_stream` play it from the start.

    Args:
        environment: what is shown.
        scenario: what the conversation is about.
        seed: as in `SupportEnvironment.run`.

    Attributes:
        episode: the finished record of the latest run, else None.
    """

    component_config_schema = BaseModel

    def __init__(self, environment: Playable, scenario: Scenario, *, seed: int) -> None:
        self.environment = environment
        self.scenario = scenario
        self.seed = seed
        self.episode: Episode | None = None

    @property
    def name(self) -> str:
        return "SupportTeam"

    @property
    def description(self) -> str:
        return "A simulated emotional-support conversation."

    async def run(
        self,
        *,
        task: str | BaseChatMessage | Sequence[BaseChatMessage] | None = None,
        cancellation_token: CancellationToken | None = None,
        output_task_messages: bool = True,
    ) -> TaskResult:
        """Play the conversation; the scenario is the task, so `task` must be left out."""
        async for item in self.run_stream(
            task=task,
            cancellation_token=cancellation_token,
            output_task_messages=output_task_messages,
        ):
            if isinstance(item, TaskResult):
                return item
        raise RuntimeError("the stream ended without a result")

    async def run_stream(
        self,
        *,
        task: str | BaseChatMessage | Sequence[BaseChatMessage] | None = None,
        cancellation_token: CancellationToken | None = None,
        output_task_messages: bool = True,
    ) -> AsyncGenerator[Item, None]:
        """Yields each utterance as it is spoken, then the result."""
        if task is not None:
            raise ValueError("a SupportTeam plays its scenario and takes no task")
        spoken: asyncio.Queue[TextMessage | None] = asyncio.Queue()

        def observe(event: Spoken) -> None:
            if isinstance(event.what, Utterance):
                spoken.put_nowait(_message(event.what))

        playing = asyncio.create_task(
            self.environment.run(self.scenario, seed=self.seed, observe=observe)
        )
        playing.add_done_callback(lambda _: spoken.put_nowait(None))
        if cancellation_token is not None:
            cancellation_token.link_future(playing)
        messages: list[TextMessage] = []
        try:
            while (message := await spoken.get()) is not None:
                messages.append(message)
                yield message
            self.episode = await playing
        finally:
            playing.cancel()
        yield TaskResult(messages=messages, stop_reason=self.episode.stop.value)

    async def reset(self) -> None:
        """Forget the latest run; each run starts from the beginning anyway."""
        self.episode = None

    async def pause(self) -> None:
        raise RuntimeError("a SupportTeam cannot be paused; cancel it and run it again")

    async def resume(self) -> None:
        raise RuntimeError("a SupportTeam cannot be paused or resumed")

    async def save_state(self) -> Mapping[str, Any]:
        """The finished episode, if there is one."""
        return {"episode": self.episode.model_dump(mode="json") if self.episode else None}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        stored = state.get("episode")
        self.episode = Episode.model_validate(stored) if stored else None


def _message(utterance: Utterance) -> TextMessage:
    metadata = {ROLE_KEY: utterance.role.value}
    if utterance.strategy:
        metadata["strategy"] = utterance.strategy.value
    return TextMessage(content=utterance.text, source=utterance.role.value, metadata=metadata)
