"""What an agent of a user's own gives, checked before it is asked or recorded.

Agents are plug-ins as policies are: what they put into a request or read from a reply is written into
records that must be read back. Our own four are built right, and are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, get_args

from ..core.errors import NotAnAction
from ..core.outside.text import clean_text
from ..policies.asking import LARGEST_NUMBER, not_plain
from ..policies.base import ChatRole, Message, Request, Sampling
from .base import Agent
from .counselor import StrategyCounselor
from .judger import Judger
from .observations import Action, Advise, Judge, Say
from .roles import Role, Strategy
from .seeker import Seeker
from .supporter import Supporter

_OWN: Final = frozenset({Seeker, StrategyCounselor, Supporter, Judger})
_ACTIONS: Final[dict[Role, type[Action]]] = {
    Role.SEEKER: Say,
    Role.COUNSELOR: Advise,
    Role.SUPPORTER: Say,
    Role.JUDGER: Judge,
}
_CHAT_ROLES: Final = get_args(ChatRole)


def checked_request(request: Any, agent: Agent[Any, Any]) -> Request:
    """What an agent wants to ask, fit for a record.

    Raises:
        NotAnAction: it is no request, or a field cannot be recorded; names each.
    """
    if type(agent) in _OWN:
        own: Request = request
        return own
    if not isinstance(request, Request):
        raise _not_that(agent, "request", request, "Request")
    if faults := list(_request_faults(request)):
        raise NotAnAction(
            f"request() of {type(agent).__name__} gave a request that cannot be recorded: "
            + "; ".join(faults)
        )
    return request


def checked_action(action: Any, agent: Agent[Any, Any]) -> Any:
    """What an agent made of a reply, fit for a record.

    Raises:
        NotAnAction: it is not what the agent's role does, or a field cannot be recorded.
    """
    if type(agent) in _OWN:
        return action
    wanted = _ACTIONS[agent.role]
    if not isinstance(action, wanted):
        raise _not_that(agent, "read", action, wanted.__name__)
    if fault := _action_fault(action):
        raise NotAnAction(
            f"read() of {type(agent).__name__} gave something that cannot be recorded: {fault}"
        )
    if isinstance(action, Say):
        return Say(clean_text(action.text), action.closes, action.repairs)
    return action


def _not_that(agent: Agent[Any, Any], method: str, given: object, wanted: str) -> NotAnAction:
    return NotAnAction(
        f"{method}() of {type(agent).__name__} gave {type(given).__name__}, not {wanted}",
        hint=f"the {agent.role.value}'s {method}() returns a {wanted}",
    )


def _action_fault(action: Any) -> str | None:
    if isinstance(action, Say):
        return _speech_fault(action)
    if isinstance(action, Advise):
        strategy: Any = action.strategy
        if strategy is not None and not isinstance(strategy, Strategy):
            return f"strategy must be a Strategy or None, not {strategy!r:.60}"
    if isinstance(action, Judge):
        end: Any = action.end
        if end is not None and not isinstance(end, bool):
            return f"end must be True, False or None, not {end!r:.60}"
    return None


def _speech_fault(said: Any) -> str | None:
    if not isinstance(said.text, str):
        return f"text must be str, not {type(said.text).__name__}"
    if not isinstance(said.closes, bool):
        return f"closes must be True or False, not {type(said.closes).__name__}"
    repairs = said.repairs
    if not isinstance(repairs, tuple) or not all(isinstance(r, str) for r in repairs):
        return f"repairs must be a tuple of str, not {repairs!r:.60}"
    return None


def _request_faults(request: Request) -> Iterator[str]:
    given: Any = request
    if not isinstance(given.messages, tuple) or not given.messages:
        yield f"messages must be a tuple of at least one Message, not {given.messages!r:.60}"
    else:
        for place, message in enumerate(given.messages):
            content: Any = getattr(message, "content", None)
            if not isinstance(message, Message) or message.role not in _CHAT_ROLES:
                yield f"messages[{place}] must be a Message of {', '.join(_CHAT_ROLES)}"
            elif not isinstance(content, str):
                yield f"messages[{place}].content must be str, not {type(content).__name__}"
    for name in ("role", "prefill", "session"):
        if not isinstance(value := getattr(given, name), str):
            yield f"{name} must be str, not {type(value).__name__}"
    if not isinstance(given.sampling, Sampling):
        yield f"sampling must be a Sampling, not {type(given.sampling).__name__}"
    for name in ("seed", "max_sentences"):
        value = getattr(given, name)
        if value is not None and (type(value) is not int or abs(value) > LARGEST_NUMBER):
            yield f"{name} must be a whole number or None, not {value!r:.60}"
    choices = given.choices
    if choices is not None and not (
        isinstance(choices, tuple) and all(isinstance(option, str) for option in choices)
    ):
        yield f"choices must be a tuple of str or None, not {choices!r:.60}"
    if given.schema is not None and (fault := not_plain(given.schema, "schema")):
        yield fault
