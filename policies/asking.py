"""The one place where a policy's reply enters: `ask_policy`.

Policies are plug-ins, and what they answer is written into records that must be read back. So each
reply is checked here, text that UTF-8 cannot hold is replaced, known secrets are hidden, and
thinking that a policy left in the text is told from it.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any

from ..core.errors import InvalidReply, NotAReply
from ..core.outside.secrets import hide_secrets, hide_secrets_in
from ..core.outside.text import clean_data, clean_text
from ..core.tasks import READ_IN_PLACE, aside
from .base import (
    FinishReason,
    Policy,
    Reply,
    Request,
    ScoringPolicy,
    TokenLogprob,
    Usage,
    policy_name,
)
from .thinking import reader

LARGEST_NUMBER = 2**63 - 1
"""Whole numbers beyond this are refused: not every reader of JSON can hold them."""
DEEPEST_NOTES = 50
"""Levels of nesting in `Reply.notes`, and in a schema."""

_FINISH_REASONS = {reason.value: reason for reason in FinishReason}


async def ask_policy(policy: Policy, request: Request) -> Reply:
    """The policy's reply to a request, fit for a record.

    Raises:
        PolicyError: raised by the policy.
        NotAReply: `respond` is not asynchronous, or gives something else than a `Reply`.
        InvalidReply: a field of the reply cannot be recorded; names the policy and every such field.
    """
    answer: Any = policy.respond(request)
    if not inspect.isawaitable(answer):
        raise _not_a_reply(policy, answer)
    reply = await answer
    text = getattr(reply, "text", None)
    if not isinstance(text, str) or len(text) <= READ_IN_PLACE:
        return checked(reply, policy)
    return await aside(len(text), checked, reply, policy)


def checked(reply: object, policy: Policy) -> Reply:
    """A policy's reply with its texts cleaned; see `ask_policy`."""
    if not isinstance(reply, Reply):
        raise _not_a_reply(policy, reply)
    if not _is_plain(reply) and (faults := list(_faults(reply))):
        raise InvalidReply(
            f"policy '{policy_name(policy)}' gave a reply that cannot be recorded: "
            + "; ".join(faults),
            hint="a reply has the fields " + ", ".join(f.name for f in dataclasses.fields(Reply)),
        )
    return _cleaned(_parted(reply, policy))


async def ask_score(
    policy: ScoringPolicy, request: Request, continuation: str
) -> tuple[TokenLogprob, ...]:
    """The log-probabilities that a policy gives to a text; see `ScoringPolicy.score`.

    Raises:
        PolicyError: raised by the policy.
        InvalidReply: they cannot be summed; names the policy and the first such token.
    """
    scored = await policy.score(request, continuation)
    if faults := list(_logprob_faults(scored)):
        raise InvalidReply(
            f"policy '{policy_name(policy)}' gave a score that cannot be used: {faults[0]}"
        )
    return tuple(scored)


def _not_a_reply(policy: Policy, answer: object) -> NotAReply:
    return NotAReply(
        f"respond() of policy '{policy_name(policy)}' gave {type(answer).__name__},"
        " not a warmline.Reply",
        hint="write it as `async def respond(self, request): return warmline.Reply(text=...)`",
    )


def _is_plain(reply: Any) -> bool:
    """Whether a reply has nothing but texts, whole numbers and a latency that can be recorded.

    A quick look before `_faults`, which says so of every such reply, and of others too.
    """
    usage, latency = reply.usage, reply.latency
    return (
        type(reply.text) is str
        and type(reply.finish_reason) is FinishReason
        and type(reply.policy) is str
        and type(reply.attempts) is int
        and 0 <= reply.attempts <= LARGEST_NUMBER
        and type(reply.cached) is bool
        and reply.logprobs is None
        and reply.notes is None
        and (reply.thinking is None or type(reply.thinking) is str)
        and (latency is None or (type(latency) is float and 0 <= latency < math.inf))
        and (
            usage is None
            or (
                type(usage) is Usage
                and type(usage.prompt_tokens) is int
                and 0 <= usage.prompt_tokens <= LARGEST_NUMBER
                and type(usage.cached_tokens) is int
                and 0 <= usage.cached_tokens <= LARGEST_NUMBER
                and type(usage.completion_tokens) is int
                and 0 <= usage.completion_tokens <= LARGEST_NUMBER
                and type(usage.thinking_tokens) is int
                and 0 <= usage.thinking_tokens <= LARGEST_NUMBER
                and type(usage.estimated) is bool
            )
        )
    )


def _faults(reply: Any) -> Iterator[str]:
    """What cannot be recorded, by field."""
    if not isinstance(reply.text, str):
        yield f"text must be str, not {_shown(reply.text)}"
    if not isinstance(reply.finish_reason, str) or reply.finish_reason not in _FINISH_REASONS:
        known = ", ".join(_FINISH_REASONS)
        yield f"finish_reason must be one of {known}, not {_shown(reply.finish_reason)}"
    if reply.usage is not None:
        yield from _usage_faults(reply.usage)
    if reply.latency is not None and not _is_seconds(reply.latency):
        yield f"latency must be seconds or None, not {_shown(reply.latency)}"
    if not isinstance(reply.policy, str):
        yield f"policy must be str, not {_shown(reply.policy)}"
    if not _is_count(reply.attempts):
        yield f"attempts must be a whole number of at least 0, not {_shown(reply.attempts)}"
    if not isinstance(reply.cached, bool):
        yield f"cached must be True or False, not {_shown(reply.cached)}"
    if reply.logprobs is not None:
        yield from _logprob_faults(reply.logprobs)
    if reply.notes is not None:
        yield from _note_faults(reply.notes)
    if not isinstance(reply.thinking, str | None):
        yield f"thinking must be str or None, not {_shown(reply.thinking)}"


def _usage_faults(usage: object) -> Iterator[str]:
    if not isinstance(usage, Usage):
        yield f"usage must be a Usage or None, not {_shown(usage)}"
        return
    for name in ("prompt_tokens", "cached_tokens", "completion_tokens", "thinking_tokens"):
        value = getattr(usage, name)
        if not _is_count(value):
            yield f"usage.{name} must be a whole number of at least 0, not {_shown(value)}"
    estimated: object = usage.estimated
    if not isinstance(estimated, bool):
        yield f"usage.estimated must be True or False, not {_shown(estimated)}"


def _logprob_faults(logprobs: object) -> Iterator[str]:
    """Faults of the log-probabilities; minus infinity is one that cannot happen, and allowed."""
    if not isinstance(logprobs, tuple | list):
        yield f"logprobs must be a tuple or None, not {_shown(logprobs)}"
        return
    for place, entry in enumerate(logprobs):
        if not isinstance(entry, TokenLogprob) or not isinstance(entry.token, str):
            yield f"logprobs[{place}] must be a TokenLogprob with a str, not {_shown(entry)}"
        elif not isinstance(entry.logprob, int | float) or not entry.logprob < math.inf:
            yield f"logprobs[{place}].logprob must be a number, not {_shown(entry.logprob)}"
        else:
            continue
        return  # the first says enough of thousands of tokens


def _note_faults(notes: object) -> Iterator[str]:
    if not isinstance(notes, Mapping):
        yield f"notes must be a mapping or None, not {_shown(notes)}"
    elif (fault := not_plain(notes, "notes")) is not None:
        yield fault


def not_plain(value: object, place: str, depth: int = DEEPEST_NOTES) -> str | None:
    """Where and why a value is not plain data that JSON can hold, or None.

    Args:
        place: what to call it.
        depth: most levels of nesting.
    """
    if value is None or isinstance(value, str | bool):
        return None
    if isinstance(value, int):
        return None if abs(value) <= LARGEST_NUMBER else f"{place} holds a number beyond 64 bits"
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{place} must be a finite number, not {value}"
    if not isinstance(value, Mapping | list | tuple):
        return f"{place} must be plain data, not {_shown(value)}"
    if not depth:
        return f"{place} is nested more than {DEEPEST_NOTES} levels deep"
    parts = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, part in parts:
        if isinstance(value, Mapping) and not isinstance(key, str):
            return f"{place} must have names of type str, not {_shown(key)}"
        inner = f"{place}.{key}" if isinstance(value, Mapping) else f"{place}[{key}]"
        if (fault := not_plain(part, inner, depth - 1)) is not None:
            return fault
    return None


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST_NUMBER


def _is_seconds(value: object) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and 0 <= value < math.inf  # type: ignore[operator]


def _shown(value: object) -> str:
    """A value for an error; without the digits of a number that takes long to write."""
    if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        return "a number beyond 64 bits"
    return f"{type(value).__name__} {hide_secrets(repr(value)):.60}"


def _parted(reply: Reply, policy: Policy) -> Reply:
    """The reply without thinking in its text; what a person typed stays as it is.

    Tokens are not counted here: whoever counted those of the reply did not say which are which.
    """
    if not reader.may_think(reply.text):
        return reply
    parted = reader.part(reply.text)
    if parted.text == reply.text or getattr(policy, "is_person", False):
        return reply
    thought = "\n\n".join(filter(None, (reply.thinking, parted.thinking)))
    return dataclasses.replace(reply, text=parted.text, thinking=thought or None)


def _cleaned(reply: Any) -> Reply:
    """The reply with texts that can be stored; the same object where nothing is to be done."""
    changes: dict[str, Any] = {}
    if (text := hide_secrets(clean_text(reply.text))) != reply.text:
        changes["text"] = text
    if reply.thinking is not None:
        changes["thinking"] = hide_secrets(clean_text(reply.thinking)) or None
    if reply.policy and (name := hide_secrets(clean_text(reply.policy))) != reply.policy:
        changes["policy"] = name
    if not isinstance(reply.finish_reason, FinishReason):
        changes["finish_reason"] = _FINISH_REASONS[reply.finish_reason]
    if reply.notes is not None:
        changes["notes"] = hide_secrets_in(clean_data(dict(reply.notes)))
    if reply.logprobs and not all(entry.token.isascii() for entry in reply.logprobs):
        changes["logprobs"] = tuple(
            dataclasses.replace(entry, token=clean_text(entry.token)) for entry in reply.logprobs
        )
    cleaned: Reply = dataclasses.replace(reply, **changes) if changes else reply
    return cleaned
