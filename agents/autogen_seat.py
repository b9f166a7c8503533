"""Seats any AutoGen chat agent (an `AssistantAgent`, say) as one of our roles.

The role's prompt still comes from our template; the AutoGen agent is what answers it. An AutoGen
agent remembers earlier messages, so it is reset before each call and given the whole prompt again:
one instance serves one call at a time. Give a factory instead of an agent where episodes run
concurrently: one agent is then made for each call in flight.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from autogen_agentchat.base import ChatAgent
from autogen_agentchat.messages import TextMessage
from autogen_core import CancellationToken

from ..core.errors import EngineUnavailable
from ..policies.base import BasePolicy, Capabilities, Reply, Request, Usage


class AutogenAgentPolicy(BasePolicy):
    """An AutoGen agent as a policy.

    Args:
        agent: an agent, or a function without arguments that makes one.
    """

    capabilities = Capabilities(max_sentences=True, seed=False)

    def __init__(self, agent: ChatAgent | Callable[[], ChatAgent]) -> None:
        self._make: Callable[[], ChatAgent] | None = None
        self._idle: list[ChatAgent] = []
        if isinstance(agent, ChatAgent):
            self._idle.append(agent)
        else:
            self._make = agent
            self._idle.append(agent())
        self._one_at_a_time = asyncio.Semaphore(1)
        self._class = type(self._idle[0])
        self.name = f"autogen:{self._idle[0].name}"

    async def respond(self, request: Request) -> Reply:
        """Answer through the agent. Choices are asked for in words; the role reads the answer.

        Raises:
            EngineUnavailable: the agent raised; its error is the cause.
        """
        started = time.perf_counter()
        if self._make is None:
            async with self._one_at_a_time:
                text, usage = await self._ask(self._idle[0], request)
        else:
            agent = self._idle.pop() if self._idle else self._make()
            try:
                text, usage = await self._ask(agent, request)
            finally:
                self._idle.append(agent)
        return Reply(
            text=text,
            usage=usage,
            latency=time.perf_counter() - started,
            policy=self.name,
        )

    async def _ask(self, agent: ChatAgent, request: Request) -> tuple[str, Usage | None]:
        token = CancellationToken()
        messages = [TextMessage(content=m.content, source=m.role) for m in request.messages]
        if request.choices:
            options = ", ".join(request.choices)
            messages.append(
                TextMessage(content=f"Answer with exactly one of: {options}", source="user")
            )
        try:
            await agent.on_reset(token)
            response = await agent.on_messages(messages, token)
        except asyncio.CancelledError:
            token.cancel()
            raise
        except Exception as error:
            # AutoGen agents raise whatever their model client raises: one boundary, cause kept.
            raise EngineUnavailable(f"AutoGen agent '{agent.name}' failed: {error!r}") from error
        spent = response.chat_message.models_usage
        usage = Usage(spent.prompt_tokens, 0, spent.completion_tokens) if spent else None
        return response.chat_message.to_model_text(), usage

    def describe(self) -> dict[str, Any]:
        return {
            "policy": self.name,
            "agent_class": f"{self._class.__module__}:{self._class.__qualname__}",
        }
