"""What one server takes of a chat completion, learned from what it refuses by name.

Servers refuse fields that others demand: reasoning models take only the default `temperature`, many
know no `seed`, some templates no system message. A refusal that names a field is answered by the
same request without it, and only what then succeeds is remembered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...core.errors import BadRequest
from ..base import Message
from ..models.system_role import fold_system
from ..server_errors import context_error

LEAVABLE = (
    "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "seed", "stop", "logprobs",
)  # fmt: skip
"""Fields without which a request can still be answered."""

ALIASES = {"repetition_penalty": "repeat_penalty"}
"""A second name under which a field is sent."""

FORMAT = "response_format"
_FORMS = frozenset({FORMAT, "structured_outputs"})

_CONSEQUENCES = {
    "seed": "without seed: the same seed need not give the same answer",
    "stop": "without stop: answers are cut here, and cost their tokens",
    "logprobs": "without logprobs: a request for them is refused",
    "stream": "without stream: answers are not ended by us, and cost their tokens",
    "temperature": "without temperature: the server's own default holds",
    "top_p": "without top_p: the server's own default holds",
}

_READ = 2_000
"""Characters of a refusal that are looked at: some servers repeat the request in it."""

_UNSUPPORTED = re.compile(
    r"unsupported|n[o']t (?:currently |yet )?support|unknown|unrecogni[sz]ed|unexpected|deprecated"
    r"|not (?:allowed|permitted|accepted|available|recogni[sz]ed|known|implemented|applicable)"
    r"|unavailable|extra_forbidden|extra (?:inputs|fields)|only\b.{0,30}\bdefault|no longer"
    r"|only \S{1,8} is allowed|cannot (?:both )?be (?:set|specified|used)|does not exist"
    r"|must be (?:left out|omitted|unset)|is fixed|invalid (?:parameter|argument|field)"
    r"|not an? (?:valid|known|supported|allowed)|(?:may|can|must|should) only be (?:set to )?\d"
    r"|must be (?:set to |equal to |exactly )?\d[\d.]*(?: for| with| when| on)\b",
    re.IGNORECASE,
)
_OR_UNSET = re.compile(r"\bor (?:be )?(?:left out|omitted|unset|not set)\b", re.IGNORECASE)
_RANGE = re.compile(
    r"out of range|between|at most|at least|(?:greater|less|more) than|maximum|minimum|[<>]=",
    re.IGNORECASE,
)
_KNOWN_ONES = re.compile(
    r"(?<!un)(?<!not a )supported (?:param|field|arg)|(?:expected|must be) one of"
    r"|(?<!not an )allowed (?:param|field|arg)|(?<!in)(?<!not a )valid (?:param|field|arg)",
    re.IGNORECASE,
)
_OF_A_ROLE = re.compile(
    r"messages?\W{0,3}\d{1,4}\W{0,3}role|['\"`]system['\"`]|\brole\b.{0,40}\bsystem\b",
    re.IGNORECASE | re.DOTALL,
)
"""May be about the system message: the request is tried without one, and that is kept only if it
succeeds."""
_NO_SYSTEM = re.compile(
    r"system (?:role|message|prompt|instruction)s?.{0,40}(?:not|n't|un)[ -]?(?:support|allow|known)"
    r"|n[o']t support.{0,40}\bsystem\b|system\W{1,3}is not an? \w+ role|only user and assistant roles|developer instruction is not"
    r"|roles must alternate|(?:unknown|unsupported|invalid|unexpected) (?:message )?role"
    r"|role.{0,20}must be (?:one of|user|'user'|\"user\")|no system (?:role|message)",
    re.IGNORECASE | re.DOTALL,
)
_NO_STREAM = re.compile(
    r"verified to stream|\bstream(?:s|ing|ed)?\b.{0,40}(?:(?:no|n['o])t|un|dis)[ -]?(?:yet |currently )?"
    r"(?:support|allow|available|enabled|implemented|permitted|abled)"
    r"|n[o']t (?:support|allow|permit|implement)\w*.{0,40}\bstream(?:s|ing|ed)?\b",
    re.IGNORECASE | re.DOTALL,
)
_NO_FORM = re.compile(
    r"json_validate_failed|failed to (?:generate json|parse (?:the )?(?:grammar|schema))"
    r"|(?:grammar|schema).{0,40}(?:invalid|not valid|too complex|error)|unimplemented keys",
    re.IGNORECASE,
)
_OF_A_STREAM = re.compile(r"stream_options|continuous_usage|include_usage")
_STREAM_STATUS = frozenset({400, 403, 405, 422, 500, 501})


class FormatRefused(BadRequest):
    """The server does not take `response_format`; the form must be asked for in words."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a server said against a request.

    Attributes:
        status: of HTTP.
        message: its words.
        field: the field that it names beside them; empty where it names none.
        code: its own name for the kind of error.
    """

    status: int
    message: str
    field: str = ""
    code: str = ""

    @classmethod
    def of(cls, status: int, message: str, body: object) -> Refusal:
        """From the body of an error."""
        fields = body if isinstance(body, Mapping) else {}
        named = str(fields.get("param") or "")
        return cls(status, message[:_READ], named, str(fields.get("code") or ""))


@dataclass(frozen=True, slots=True)
class Dialect:
    """Which of several forms of a request the server understands.

    Attributes:
        max_tokens: name of the limit on the answer.
        include_usage, count_along: whether a stream is asked for its tokens, at its end or always.
        dropped: fields that are left out; with `stream`, answers are asked for whole.
        folds_system: the system message goes into the first user message.
    """

    max_tokens: str = "max_tokens"
    include_usage: bool = True
    count_along: bool = True
    dropped: frozenset[str] = frozenset()
    folds_system: bool = False

    def spell(self, model: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """The request as this server understands it."""
        left_out = self.dropped | {ALIASES[name] for name in self.dropped & ALIASES.keys()}
        sent: dict[str, Any] = {"model": model}
        sent.update({name: value for name, value in body.items() if name not in left_out})
        if self.folds_system:
            messages = fold_system([Message(**message) for message in sent["messages"]])
            sent["messages"] = [{"role": m.role, "content": m.content} for m in messages]
        if "max_tokens" in sent:
            sent[self.max_tokens] = sent.pop("max_tokens")
        if "stream" in sent and self.include_usage:
            sent["stream_options"] = {"include_usage": True}
            if self.count_along:
                sent["stream_options"]["continuous_usage_stats"] = True
        return sent

    def own_stops(self, body: Mapping[str, Any]) -> Sequence[str]:
        """Texts at which the answer must be cut here, since the server does not take `stop`."""
        asked = body.get("stop") if "stop" in self.dropped else None
        return [asked] if isinstance(asked, str) else [str(text) for text in asked or ()]

    def joined(self, other: Dialect) -> Dialect:
        """What two answers have taught together."""
        return Dialect(
            max_tokens=max(self.max_tokens, other.max_tokens, key=len),
            include_usage=self.include_usage and other.include_usage,
            count_along=self.count_along and other.count_along,
            dropped=self.dropped | other.dropped,
            folds_system=self.folds_system or other.folds_system,
        )

    def differences(self, learned: Dialect) -> list[str]:
        """In words, what a run gives up once it speaks as `learned` says."""
        told = [
            _CONSEQUENCES.get(n, f"without {n}") for n in sorted(learned.dropped - self.dropped)
        ]
        if learned.folds_system and not self.folds_system:
            told.append("the system message goes into the first user message")
        return told

    def plainer(self, refusal: Refusal, sent: Mapping[str, Any]) -> Dialect | None:
        """The spelling that a refusal asks for, or None if it is about something else.

        Raises:
            FormatRefused: it is about `response_format`.
        """
        said = refusal.message
        if has_system(sent) and _refuses_system(refusal):
            return replace(self, folds_system=True)
        if refusal.status in _STREAM_STATUS and "stream" in sent and _refuses_stream(refusal):
            return replace(self, dropped=self.dropped | {"stream"})
        if refusal.status not in (400, 422):
            return None
        if (
            self.max_tokens == "max_tokens"
            and "max_completion_tokens" in said
            and context_error(said) is None  # vLLM names both words when the context is full
        ):
            return replace(self, max_tokens="max_completion_tokens")
        if "stream" in sent and _OF_A_STREAM.search(said):
            if self.count_along:
                return replace(self, count_along=False)
            if self.include_usage:
                return replace(self, include_usage=False)
        if not _FORMS.isdisjoint(sent) and _refuses_format(refusal):
            raise FormatRefused(
                f"the server does not take {', '.join(_FORMS & sent.keys())}: {said[:300]}",
                hint="set choices_mode = 'auto' or 'ask'",
            )
        named = _named(refusal, sent)
        return replace(self, dropped=self.dropped | named) if named else None


def text_of(messages: Iterable[Mapping[str, Any]]) -> str:
    """All text of the messages of a request."""
    return "\n".join(str(message.get("content") or "") for message in messages)


def has_system(sent: Mapping[str, Any]) -> bool:
    """Whether a request has a system message."""
    return any(message["role"] == "system" for message in sent["messages"])


def _refuses_system(refusal: Refusal) -> bool:
    if refusal.status not in (400, 422, 500):
        return False
    if _NO_SYSTEM.search(refusal.message):
        return True
    return refusal.status != 500 and bool(_OF_A_ROLE.search(f"{refusal.field} {refusal.message}"))


def _is_unsupported(refusal: Refusal) -> bool:
    said = f"{refusal.code.replace('_', ' ')} {refusal.message}"
    if _OR_UNSET.search(said):
        return True
    return bool(_UNSUPPORTED.search(said)) and not _RANGE.search(said)


def _refuses_stream(refusal: Refusal) -> bool:
    if _OF_A_STREAM.search(refusal.message):
        return False
    return refusal.field == "stream" or bool(_NO_STREAM.search(refusal.message))


def _refuses_format(refusal: Refusal) -> bool:
    if _NO_FORM.search(f"{refusal.code} {refusal.message}"):
        return True
    named = refusal.field.startswith(FORMAT) or re.search(
        r"response_format|json_schema|structured[ _]output", refusal.message
    )
    return bool(named) and bool(_UNSUPPORTED.search(f"{refusal.code} {refusal.message}"))


def _named(refusal: Refusal, sent: Mapping[str, Any]) -> frozenset[str]:
    """Those of the fields sent that the refusal names as not supported."""
    if not _is_unsupported(refusal):
        return frozenset()
    candidates = [name for name in LEAVABLE if name in sent]
    pointed = {n for n in candidates if n == refusal.field.rpartition(".")[2]}
    # "unknown field `a`, expected one of `b`, `c`": what follows is not refused
    said = _KNOWN_ONES.split(refusal.message)[0] or refusal.message
    quoted = {n for n in candidates if re.search(rf"['\"`]{_spelled(n)}['\"`]", said)}
    words = {n for n in candidates if re.search(rf"(?<![\w-]){_spelled(n)}(?![\w-])", said)}
    named = pointed | quoted or words
    if {"temperature", "top_p"} <= named and re.search(r"\bboth\b|only one", said, re.IGNORECASE):
        named -= {"temperature"}  # one of the two is taken
    return frozenset(named)


def _spelled(name: str) -> str:
    return f"(?:{name}|{ALIASES.get(name, name)})"
