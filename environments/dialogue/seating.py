"""Who may take a seat (our agents, a policy, any AutoGen chat agent), and who has taken it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from ...agents.base import Agent
from ...agents.counselor import StrategyCounselor
from ...agents.judger import Judger
from ...agents.seeker import Seeker
from ...agents.supporter import Supporter
from ...core.errors import ConfigError
from ...policies.base import capabilities_of

Seat = TypeVar("Seat", bound=Agent[Any, Any])


@dataclass(frozen=True, slots=True)
class Seats:
    """Who plays a conversation; counselor and judger may be missing."""

    seeker: Seeker
    supporter: Supporter
    counselor: StrategyCounselor | None = None
    judger: Judger | None = None


def seat(candidate: Any, role: type[Seat]) -> Seat:
    """The candidate as an agent of the role.

    Args:
        candidate: an agent of the role (or of a user's subclass), anything with `respond`, an
            AutoGen chat agent, or a function without arguments that makes one.
        role: the role's standard agent class.

    Raises:
        ConfigError: the candidate fits no seat, or is an agent of another role, or asks for
            something that its policy cannot do.
    """
    from autogen_agentchat.base import ChatAgent

    if isinstance(candidate, Agent):
        if candidate.role is not role.role:
            raise ConfigError(
                f"the {role.role.value}'s seat was given a {candidate.role.value}"
                f" ({type(candidate).__name__})",
                hint=f"use {role.__name__}(policy) or a subclass of it",
            )
        agent: Seat = candidate  # type: ignore[assignment]
    elif isinstance(candidate, type) and hasattr(candidate, "respond"):
        raise ConfigError(
            f"the {role.role.value}'s seat was given the class {candidate.__name__}, not a policy",
            hint=f"give one of them: {candidate.__name__}()",
        )
    elif callable(getattr(candidate, "respond", None)):
        agent = role(candidate)
    elif isinstance(candidate, ChatAgent) or callable(candidate):
        from ...agents.autogen_seat import AutogenAgentPolicy

        if not isinstance(candidate, ChatAgent):
            _refuse_arguments(candidate, role)
        agent = role(AutogenAgentPolicy(candidate))
    else:
        raise ConfigError(
            f"the {role.role.value}'s seat cannot take a {type(candidate).__name__}",
            hint=f"give a {role.__name__}, a policy, or an AutoGen chat agent",
        )
    _check_openings(agent)
    return agent


def _refuse_arguments(candidate: Callable[..., Any], role: type[Agent[Any, Any]]) -> None:
    try:
        inspect.signature(candidate).bind()
    except TypeError as error:
        raise ConfigError(
            f"the {role.role.value}'s seat was given a function that needs arguments ({error})",
            hint="a policy is an object with `async def respond(self, request)`; a function without"
            " arguments makes an AutoGen agent",
        ) from None
    except ValueError:  # one that does not say what it takes
        return


def _check_openings(agent: Agent[Any, Any]) -> None:
    able = capabilities_of(agent.policy)
    if getattr(agent, "openings", False) and able is not None and not able.prefill:
        raise ConfigError(
            f"openings are on for the {agent.role.value}, but its policy cannot pre-fill an answer",
            hint="switch openings off for this role",
        )
