"""Secrets are kept out of everything that is written.

A secret is known by its value or by its name. Values are registered by whoever reads a key, and those
of environment variables that are named like secrets are known from the start; `hide_secrets` replaces
them in errors, replies, logs and small files. `without_secrets` blanks out settings by their names.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

HIDDEN = "***"
"""Stands in place of a secret."""
SHORTEST = 8
"""Characters. A shorter value of an environment variable may be an ordinary word of a text."""
SHORTEST_REGISTERED = 6
"""Characters of a value that somebody uses as a key."""

_SECRET = re.compile(
    r"api[_-]?key|secret|passw(?:or)?d|authorization|credential"
    r"|(?:access|auth|api|bearer|hf|refresh|session)[_-]?token|^(?:x-)?token$",
    re.IGNORECASE,
)
_SECRET_VARIABLE = re.compile(
    r"(?:api_?key|(?:access|secret|private)_?key|secret|token|passw(?:or)?d)$", re.IGNORECASE
)
_NAME_OF_VARIABLE = re.compile(r"[_-]env$", re.IGNORECASE)

_LOOKS_SECRET = re.compile(
    r"(?:bearer|basic|token|apikey|digest)\s+(?=\S*[\d+/=_-])\S{8,}"  # as in `Authorization`
    r"|(?:sk|pk|rk|hf|gsk|nvapi|glpat|gh[pousr]|xox[abprs]|ya29|r8)[-_.][\w.-]{8,}"
    r"|(?:AKIA|AIza)[\w-]{12,}"
    r"|eyJ[\w-]+\.[\w-]+\.[\w-]*"  # a JSON web token
    r"|[0-9a-f]{32,}|(?=\w*[a-z])(?=\w*[A-Z])(?=\w*\d)\w{24,}",
    re.ASCII,
)
_SCHEME = re.compile(r"^(?:bearer|basic|token|apikey|digest)(?=\s)", re.IGNORECASE)

_registered: set[str] = set()


def is_secret_name(name: str) -> bool:
    """Whether a setting of this name holds a secret; `api_key_env` holds only a variable's name."""
    return bool(_SECRET.search(name)) and not _NAME_OF_VARIABLE.search(name)


def looks_like_secret(value: str) -> bool:
    """Whether a text looks like a key or a token: by its prefix, or a long mixture of letters and
    digits without a separator."""
    lowered = _SCHEME.sub(lambda scheme: scheme[0].lower(), value.strip())
    return bool(_LOOKS_SECRET.fullmatch(lowered))


def without_secrets(value: Any) -> Any:
    """A copy of plain data in which everything named like a secret is blanked out."""
    if isinstance(value, Mapping):
        return {
            name: HIDDEN if is_secret_name(str(name)) else without_secrets(part)
            for name, part in value.items()
        }
    if isinstance(value, list | tuple):
        return [without_secrets(part) for part in value]
    return value


def register_secret(value: str) -> None:
    """Have `hide_secrets` replace `value` from now on; ignored if it is shorter than 6 characters."""
    if len(value) >= SHORTEST_REGISTERED and value != HIDDEN:
        _registered.add(value)
        _pattern.cache_clear()


def register_secrets_in(value: Any) -> None:
    """Register every text in plain data that stands under the name of a secret, or looks like one."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            if isinstance(part, str) and (is_secret_name(str(name)) or looks_like_secret(part)):
                register_secret(part)
            register_secrets_in(part)
    elif isinstance(value, list | tuple):
        for part in value:
            register_secrets_in(part)


def hide_secrets(text: str) -> str:
    """`text` with every known secret replaced by `***`.

    To quote a part of a long text, hide first and cut afterwards: half a key cannot be found.
    """
    found = _pattern()
    return text if found is None else found.sub(HIDDEN, text)


def hide_secrets_in(value: Any) -> Any:
    """Plain data with `hide_secrets` applied to every text in it."""
    if isinstance(value, str):
        return hide_secrets(value)
    if isinstance(value, Mapping):
        return {name: hide_secrets_in(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [hide_secrets_in(part) for part in value]
    return value


@lru_cache(maxsize=1)
def _pattern() -> re.Pattern[str] | None:
    """All known secrets, longest first, also as JSON and TOML write them."""
    values = _registered | _of_environment()
    forms = values | {json.dumps(value)[1:-1] for value in values}
    ordered = sorted(forms, key=lambda form: (-len(form), form))
    return re.compile("|".join(map(re.escape, ordered))) if ordered else None


def _of_environment() -> set[str]:
    """Values of environment variables that are named like secrets."""
    return {
        value.strip()
        for name, value in os.environ.items()
        if _SECRET_VARIABLE.search(name) and len(value.strip()) >= SHORTEST
    }
