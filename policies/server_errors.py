"""Maps an OpenAI-compatible server's failures to `core/errors.py`, and reads how long to wait."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from ..core.errors import (
    AuthenticationFailed,
    BadRequest,
    ContentRefused,
    ContextTooLong,
    EngineTimeout,
    EngineUnavailable,
    ModelNotFound,
    PolicyError,
    RateLimited,
    UnreadableReply,
)
from ..core.outside.secrets import HIDDEN, hide_secrets

TRANSIENT_STATUS = frozenset({408, 409, 425})
"""Client errors after which the same request may succeed. So may all 5xx but 501."""

_KINDS = {
    "invalid_request_error": 400, "authentication_error": 401, "invalid_api_key": 401,
    "permission_error": 403, "not_found_error": 404, "model_not_found": 404,
    "context_length_exceeded": 400, "content_filter": 400, "rate_limit_error": 429,
    "rate_limit_exceeded": 429, "insufficient_quota": 429, "overloaded_error": 503,
}  # fmt: skip
"""HTTP status of errors that are told by a word."""

_PAGE = re.compile(r"\s*(?:<!--.{0,500}?-->\s*)?<(?:!doctype\s+html|html|head|body)\b", re.I | re.S)
_TITLE = re.compile(r"<(title|h1)[^>]*>(.{1,200}?)</\1>", re.I | re.S)


class ErrorWithin(Exception):
    """An error that a server sent with HTTP 200, in place of an answer or inside one.

    Attributes:
        status: the HTTP status that it would have had; 500 where nothing tells.
        body: what the server said.
    """

    def __init__(self, status: int, body: object) -> None:
        super().__init__(status, body)
        self.status, self.body = status, body

    @classmethod
    def of(cls, error: object) -> ErrorWithin:
        """From the value of a field `error`."""
        fields = error if isinstance(error, Mapping) else {}
        return cls(
            _told_status(fields.get("code"), fields.get("status"), fields.get("type")), error
        )


ANSWER_FAULTS = (ValueError, RecursionError, TimeoutError, ErrorWithin)
"""What reading an answer raises: not JSON, not UTF-8, nested too deeply, a number too long; too late;
an error."""


def error_status(error: Exception) -> int | None:
    """The HTTP status of a server's refusal, also of one that it sent with HTTP 200 or inside a
    stream; None for failures of another kind."""
    import openai

    if isinstance(error, ErrorWithin):
        return error.status
    if isinstance(error, openai.APIStatusError):
        return error.status_code
    if isinstance(error, openai.APIConnectionError) or not isinstance(error, openai.APIError):
        return None
    return _told_status(error.code, error.type)


def _told_status(*said: object) -> int:
    for word in map(str, said):
        if _STATUS.fullmatch(word):
            return int(word)
        if word.lower() in _KINDS:
            return _KINDS[word.lower()]
    return 500


def page_title(text: str) -> str | None:
    """The title of a web page in brackets, empty where it has none; None where it is no web page."""
    if _PAGE.match(text) is None:
        return None
    found = _TITLE.search(text[:5000])
    return "" if found is None else f" ({' '.join(hide_secrets(found[2]).split())!r})"


_STATUS = re.compile(r"[45]\d\d", re.ASCII)
_DIGITS = 15
"""Digits of a number in a server's message that are read."""
_CONTEXT = re.compile(
    r"context[ _](?:length|size|window)|maximum context|exceed_context|prompt is too long|"
    r"longer than the (?:model|maximum)",
    re.IGNORECASE,
)
_CONTEXT_TOKENS = (
    r"(?:context length|context size|context window)\D{0,20}?(\d+)",
    r"n_ctx\D{0,5}(\d+)",
    r"(\d+)\s*tokens? (?:context|maximum)",
    r"(\d+) maximum context",
)
_PROMPT_TOKENS = (
    r"prompt contains (?:at least )?(\d+)",
    r"(\d+) (?:tokens )?(?:in|from) the (?:input )?messages",
    r"messages resulted in (\d+)",
    r"(?:input|request|prompt) (?:has |of )?\(?(\d+)\s*(?:input )?tokens",
    r"requested (?:a total of )?(\d+) tokens",
    r"n_prompt_tokens\D{0,5}(\d+)",
)


_FILTER_CODES = frozenset(
    {
        "content_filter", "content_policy_violation", "data_inspection_failed",
        "moderation_blocked", "responsibleaipolicyviolation",
    }
)  # fmt: skip
_FILTERED = re.compile(
    r"content[ _-]?(?:filter|management|policy|safety)|moderat|flagged"
    r"|safety (?:system|filter|policy)|inappropriate|prohibited content|content exists risk|usage polic"
    r"|guardrail",
    re.IGNORECASE,
)
_FILTER_STATUS = frozenset({400, 403, 422, 451})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a request went, for messages.

    Attributes:
        base_url: the server's address.
        model: the model that was asked for.
        key_env: name of the environment variable with the key.
        key: its value, to be kept out of every message; None if it is not set.
        timeout: seconds allowed for one request.
    """

    base_url: str
    model: str
    key_env: str
    key: str | None
    timeout: float

    def hide(self, text: str) -> str:
        """`text` without the key, in case the server repeats it, and not longer than a
        paragraph."""
        shown = hide_secrets(text.replace(self.key, HIDDEN) if self.key else text)
        return shown if len(shown) <= 600 else f"{shown[:600]} …"


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds the server asks to wait (`retry-after-ms`, then `retry-after`), None if it does not.

    Args:
        headers: the response's headers; names in lower case.
        now: seconds since the epoch; RFC 9110 section 10.2.3 also allows a date.
    """
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if re.fullmatch(r"\d+(?:\.\d+)?", value):
            return float(value) * unit
    try:
        until = parsedate_to_datetime(headers.get("retry-after", ""))
        return max(0.0, until.timestamp() - now)
    except (ValueError, OverflowError):
        return None


def server_message(error: Any) -> str:
    """What the server itself said in an `openai.APIError` or `ErrorWithin`, without the library's
    wrapping; of a web page only its title."""
    body = getattr(error, "body", None)
    if isinstance(body, Mapping):
        for name in ("message", "detail", "error"):
            if body.get(name):
                return str(body[name])
    said = str(body) if body else str(error)
    title = page_title(said)
    return said if title is None else f"a web page{title}"


def context_error(message: str, body: object = None) -> ContextTooLong | None:
    """`ContextTooLong` with the numbers that a message or llama.cpp's fields give, else None."""
    if not _CONTEXT.search(message):
        return None
    fields = body if isinstance(body, Mapping) else {}
    prompt, room = fields.get("n_prompt_tokens"), fields.get("n_ctx")
    return ContextTooLong(
        prompt_tokens=prompt if isinstance(prompt, int) else _number(_PROMPT_TOKENS, message),
        context_tokens=room if isinstance(room, int) else _number(_CONTEXT_TOKENS, message),
    )


def _number(patterns: tuple[str, ...], message: str) -> int | None:
    plain = re.sub(r"(?<=\d),(?=\d{3})", "", message)
    for pattern in patterns:
        if found := re.search(pattern, plain, re.IGNORECASE):
            return int(found.group(1)[:_DIGITS])
    return None


def status_error(status: int, error: Any, endpoint: Endpoint) -> PolicyError:
    """The error for an answer with HTTP status 400 and above."""
    message, body = server_message(error), getattr(error, "body", None)
    code = str(body.get("code") or body.get("type")) if isinstance(body, Mapping) else ""
    said = f"{endpoint.base_url} answered {status}: {endpoint.hide(message)}"
    if _is_filtered(status, message, body):
        return ContentRefused(
            said,
            hint="a model and a filter that allow talk of distress are needed for this subject",
        )
    if status in (401, 403) and isinstance(body, str) and page_title(body) is not None:
        return AuthenticationFailed(
            said,
            hint="a login, a proxy or a firewall stands before the server; ask those who run it",
        )
    if status in (401, 403):
        return _refused_key(status, endpoint)
    if status == 402 or (status == 429 and code == "insufficient_quota"):
        return AuthenticationFailed(
            said, hint=f"the account behind ${endpoint.key_env} has no credit left"
        )
    if status == 404:
        return _not_found(said, endpoint)
    if status in (400, 413, 422, 500) and (too_long := context_error(message, body)) is not None:
        return too_long
    if status == 429:
        return RateLimited(said, hint="lower max_concurrency, or raise max_retries")
    if status in TRANSIENT_STATUS or (status >= 500 and status != 501):
        return EngineUnavailable(said, hint="look at the server's log; `max_retries` gives it time")
    return BadRequest(said)


def _is_filtered(status: int, message: str, body: object) -> bool:
    """Whether a content filter refused the request, by the error's code or, where it has none that
    is known, by its words."""
    fields = body if isinstance(body, Mapping) else {}
    inner = fields.get("innererror")
    codes = [fields.get("code"), inner.get("code") if isinstance(inner, Mapping) else None]
    if any(str(code).lower() in _FILTER_CODES for code in codes):
        return True
    said = fields.get("metadata")  # OpenRouter's
    if isinstance(said, Mapping) and ("flagged_input" in said or "reasons" in said):
        return True
    return status in _FILTER_STATUS and bool(_FILTERED.search(message[:2000]))


def _refused_key(status: int, endpoint: Endpoint) -> AuthenticationFailed:
    # The server's words are left out: some servers repeat the key in them.
    if endpoint.key is None:
        return AuthenticationFailed(
            f"{endpoint.base_url} wants a key ({status}), and ${endpoint.key_env} is not set",
            hint=f"export {endpoint.key_env}=…, or name another variable with api_key_env",
        )
    return AuthenticationFailed(
        f"{endpoint.base_url} refused the key in ${endpoint.key_env} ({status})",
        hint="check that the key belongs to this server and may use the model, or name another"
        " variable with api_key_env",
    )


def _not_found(said: str, endpoint: Endpoint) -> ModelNotFound:
    hint = f"is '{endpoint.model}' the name under which the server serves it?"
    if not endpoint.base_url.rstrip("/").endswith("/v1"):
        hint += " a base_url usually ends in /v1"
    return ModelNotFound(said, hint=hint)


def policy_error(error: Exception, endpoint: Endpoint) -> PolicyError:
    """The error for whatever the `openai` library, the clock or a JSON parser raised.

    Anything else is a bug and comes back as it was, raised.
    """
    import openai

    if isinstance(error, PolicyError):
        return error
    if isinstance(error.__cause__, PolicyError):  # raised while a response was looked at
        return error.__cause__
    if isinstance(error, (openai.APITimeoutError, TimeoutError)):
        return EngineTimeout(
            f"{endpoint.base_url} did not answer within {endpoint.timeout:g} s",
            hint="raise timeout, or lower max_concurrency or max_tokens",
        )
    if isinstance(error, openai.APIConnectionError):
        cause = error.__cause__ or error
        reason = endpoint.hide(f"{type(cause).__name__}: {cause}".rstrip(": "))
        return EngineUnavailable(
            f"cannot reach {endpoint.base_url} ({reason})",
            hint="correct base_url, or start a server there, such as `vllm serve MODEL` or"
            " `llama-server -m MODEL.gguf --port 8080`",
        )
    if (status := error_status(error)) is not None:
        return status_error(status, error, endpoint)
    if isinstance(error, ANSWER_FAULTS):  # half a JSON body, bytes that are not UTF-8
        return UnreadableReply(
            f"{endpoint.base_url} answered something that is not JSON: {endpoint.hide(str(error))}",
            hint="a base_url usually ends in /v1",
        )
    raise error
