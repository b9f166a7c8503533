"""What an AutoGen model client's failures mean in `errors.py`.

A client raises whatever its provider's library raises. They are distinguished by what
most of them share (an HTTP status, a name), since none of those libraries need be installed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from ...core.errors import (
    AuthenticationFailed,
    BadRequest,
    EngineTimeout,
    EngineUnavailable,
    ModelNotFound,
    PolicyError,
    RateLimited,
    UnreadableReply,
    Unsupported,
)
from ...core.outside.secrets import hide_secrets
from ..server_errors import TRANSIENT_STATUS, context_error, server_message

_MAX_MESSAGE = 600  # characters of a provider's message


def client_error(error: Exception, client: str) -> PolicyError:
    """The error for what `create` of the client named `client` raised."""
    if isinstance(error, PolicyError):
        return error
    status = getattr(error, "status_code", None)
    if isinstance(status, int):
        return _status_error(status, error, client)
    names = {kind.__name__ for kind in type(error).__mro__}
    said = _quoted(f"{client} failed: {type(error).__name__}: {error}")
    if names & {"TimeoutError", "APITimeoutError", "TimeoutException"}:
        return EngineTimeout(said, hint="raise the client's timeout, or lower the concurrency")
    if isinstance(error, json.JSONDecodeError) or "ValidationError" in names:
        return UnreadableReply(_quoted(f"{client} got an answer it could not read: {error}"))
    if isinstance(error, ValueError | NotImplementedError):
        # AutoGen's clients raise it for arguments they do not take; the next request has the same.
        return Unsupported(
            _quoted(f"{client} refused the request: {error}"),
            hint="name with sampling and seed the arguments that this client takes",
        )
    return EngineUnavailable(said, hint="look at the cause; AutoGen's clients retry automatically")


def _status_error(status: int, error: Exception, client: str) -> PolicyError:
    message, body = server_message(error), getattr(error, "body", None)
    code = str(body.get("code") or body.get("type")) if isinstance(body, Mapping) else ""
    said = _quoted(f"{client} was answered {status}: {message}")
    if status in (401, 403):
        # The server's words are left out: some servers repeat the key in them.
        return AuthenticationFailed(
            f"{client} was refused ({status})", hint="check the key that the client was given"
        )
    if status == 402 or (status == 429 and code == "insufficient_quota"):
        return AuthenticationFailed(said, hint="the account has no credit left")
    if status == 404:
        return ModelNotFound(said, hint="check the model's name and the address of the server")
    if status in (400, 413, 422, 500) and (too_long := context_error(message)) is not None:
        return too_long
    if status == 429:
        return RateLimited(said, hint="wrap the policy in `limit`, or lower the concurrency")
    if status == 408:
        return EngineTimeout(said)
    if status in TRANSIENT_STATUS or (status >= 500 and status != 501):
        return EngineUnavailable(said)
    return BadRequest(said)


def _quoted(said: str) -> str:
    """The beginning of a message; secrets are hidden first, since half of one cannot be found."""
    return hide_secrets(said)[:_MAX_MESSAGE]
