"""Reading a chat completion, whole or as a stream of chunks, from servers that differ in details.

The answers are read as plain JSON values: building the library's typed objects costs more time than
reading the five fields needed, and hides what odd servers leave out.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...core.errors import BadRequest, ReplyTooLong, UnreadableReply
from ...core.outside.secrets import hide_secrets
from ..base import FinishReason, TokenLogprob, Usage
from ..text.tokens import estimated_tokens

_BYTES_A_CHARACTER = 6
"""Of a body: a character that JSON escapes."""
_BYTES_WITH_LOGPROBS = 64
"""The same, with its share of the log-probabilities."""
_BODY_ROOM = 1_000_000
"""Bytes besides the text: usage, hidden reasoning."""


@dataclass(frozen=True, slots=True)
class Completion:
    """One answer of a server. `usage` and `logprobs` are None where it did not send them."""

    text: str
    finish_reason: FinishReason
    usage: Usage | None
    logprobs: tuple[TokenLogprob, ...] | None


class BoundedBody:
    """A response's body that ends in `ReplyTooLong` once it is too large to hold a reply.

    Args:
        stream: of the HTTP library, whichever the `openai` library brings.
        max_chars: maximum number of characters in the reply.
        logprobs: whether log-probabilities were asked for.
    """

    def __init__(self, stream: Any, max_chars: int, *, logprobs: bool) -> None:
        self._stream, self._max_chars = stream, max_chars
        each = _BYTES_WITH_LOGPROBS if logprobs else _BYTES_A_CHARACTER
        self._left = _BODY_ROOM + each * max_chars

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._stream)  # the HTTP library insists on a stream of its own

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            self._left -= len(part)
            if self._left < 0:
                raise ReplyTooLong(chars=None, most=self._max_chars)
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()


def read_completion(data: object) -> Completion:
    """The answer in the body of a chat completion.

    Raises:
        UnreadableReply: it is not one.
        BadRequest: a content filter stopped it.
    """
    choice = _first_choice(data)
    message = choice.get("message") if choice is not None else None
    if choice is None or not isinstance(message, Mapping):
        raise UnreadableReply(
            "the server answered something that is not a chat completion:"
            f" {hide_secrets(str(data))[:200]!r}",
            hint="a base_url usually ends in /v1",
        )
    return Completion(
        text=str(message.get("content") or ""),
        finish_reason=_finish_reason(choice.get("finish_reason")),
        usage=_usage(data),
        logprobs=_logprobs(choice),
    )


class StreamedCompletion:
    """Puts a completion together from the chunks of a stream."""

    def __init__(self) -> None:
        self.text = ""
        self._finish: object = None
        self._usage: Usage | None = None
        self._logprobs: list[TokenLogprob] | None = None

    def add(self, data: object) -> None:
        """Take in one chunk; those without a choice carry the usage, or nothing."""
        self._usage = _usage(data) or self._usage
        if (choice := _first_choice(data)) is None:
            return
        delta = choice.get("delta")
        if isinstance(delta, Mapping):
            self.text += str(delta.get("content") or "")
        if (logprobs := _logprobs(choice)) is not None:
            self._logprobs = self._logprobs or []
            self._logprobs.extend(logprobs)
        self._finish = choice.get("finish_reason") or self._finish

    def stopped(self, prompt: str) -> Completion:
        """What came so far, reading having been stopped by us.

        Servers say what a call took at its end. Unless this one counts along (vLLM's
        `continuous_usage_stats`), `usage` is estimated by characters, and marked so.

        Args:
            prompt: all text that was sent.
        """
        if self._usage is None:
            tokens = estimated_tokens(prompt), estimated_tokens(self.text)
            self._usage = Usage(tokens[0], 0, tokens[1], estimated=True)
        return self._completion(FinishReason.SENTENCES)

    def _completion(self, finish: FinishReason) -> Completion:
        logprobs = None if self._logprobs is None else tuple(self._logprobs)
        return Completion(self.text, finish, self._usage, logprobs)

    def complete(self) -> Completion:
        """The whole answer.

        Raises:
            UnreadableReply: the stream ended without a finish reason: it broke off.
            BadRequest: a content filter stopped it.
        """
        if self._finish is None:
            raise UnreadableReply(
                f"the stream broke off after {len(self.text)} characters",
                hint="stream = false asks for whole answers",
            )
        return self._completion(_finish_reason(self._finish))


def _first_choice(data: object) -> Mapping[str, Any] | None:
    choices = data.get("choices") if isinstance(data, Mapping) else None
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
        return choices[0]
    return None


def _finish_reason(said: object) -> FinishReason:
    if said == "content_filter":
        raise BadRequest(
            "the server's content filter stopped the answer",
            hint="a filter that allows talk of distress is needed for this subject",
        )
    if said in ("abort", "error"):
        raise UnreadableReply(f"the server broke off its answer (finish_reason '{said}')")
    return FinishReason.LENGTH if said == "length" else FinishReason.STOP


def _usage(data: object) -> Usage | None:
    said = data.get("usage") if isinstance(data, Mapping) else None
    if not isinstance(said, Mapping) or not isinstance(said.get("completion_tokens"), int):
        return None
    details = said.get("prompt_tokens_details")
    return Usage(
        prompt_tokens=_count(said, "prompt_tokens"),
        cached_tokens=_count(details, "cached_tokens"),
        completion_tokens=_count(said, "completion_tokens"),
    )


def _count(said: object, name: str) -> int:
    value = said.get(name) if isinstance(said, Mapping) else None
    return value if isinstance(value, int) else 0


def _logprobs(choice: Mapping[str, Any]) -> tuple[TokenLogprob, ...] | None:
    said = choice.get("logprobs")
    content = said.get("content") if isinstance(said, Mapping) else None
    if not isinstance(content, list):
        return None
    return tuple(
        TokenLogprob(str(entry.get("token", "")), _number(entry["logprob"]))
        for entry in content
        if isinstance(entry, Mapping) and isinstance(entry.get("logprob"), (int, float))
    )


def _number(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # a whole number of hundreds of digits; refused with the reply
        return math.inf
