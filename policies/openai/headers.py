"""Headers of a request: the user's own, and the key by which a router keeps a session on one cache."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from ...core.outside.secrets import (
    HIDDEN,
    is_secret_name,
    looks_like_secret,
    register_secret,
)

SESSION_HEADER = "X-Session-ID"
"""The name that vLLM's production stack, SGLang's router and most gateways can be told to look at."""

LONGEST_SESSION = 200
"""Characters. A longer key is sent as its hash."""

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SECRET_HEADER = re.compile(r"cookie|auth|subscription-key|signature|^(?:x-)?key$", re.IGNORECASE)


def header_problems(headers: Mapping[str, Any] | None, session_header: str) -> list[str]:
    """What is wrong with headers that a user gives; secrets among them are registered."""
    problems = []
    for name, value in (headers or {}).items():
        if not _NAME.fullmatch(str(name)):
            problems.append(f"extra_headers has no valid name in {str(name)!r:.60}")
        elif value == HIDDEN:
            problems.append(
                f"extra_headers.{name} is '{HIDDEN}', which stands in a record for a secret; give it"
                " again"
            )
        elif not isinstance(value, str) or not value.isascii() or not value.isprintable():
            problems.append(f"extra_headers.{name} must be printable ASCII text on one line")
        elif _is_secret(name, value):
            register_secret(value)
            register_secret(value.rpartition(" ")[2])  # without `Bearer`
    if session_header and not _NAME.fullmatch(session_header):
        problems.append(
            f"session_header must be a header's name, or empty to send none, not {session_header!r}"
        )
    return problems


def recordable(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers for a record: what is named or looks like a secret is blanked out."""
    return {n: HIDDEN if _is_secret(n, value) else value for n, value in headers.items()}


def session_options(header: str, session: str) -> dict[str, Any]:
    """Options of one HTTP request that carry a session's key; none where there is no session.

    A header holds ASCII only: other characters are percent-encoded, so that different sessions stay
    different.
    """
    if not header or not session:
        return {}
    key = quote(session, safe="/:~@+,;=")
    if len(key) > LONGEST_SESSION:
        key = hashlib.sha256(session.encode("utf-8", "surrogatepass")).hexdigest()
    return {"headers": {header: key}}


def _is_secret(name: str, value: str) -> bool:
    return is_secret_name(name) or bool(_SECRET_HEADER.search(name)) or looks_like_secret(value)
