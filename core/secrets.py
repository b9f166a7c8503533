"""Secrets are kept out of everything that is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_SECRET = re.compile(
    r"api_?key|secret|password|authorization|(?:access|auth)_?token", re.IGNORECASE
)


def without_secrets(value: Any) -> Any:
    """A copy of plain data in which everything named like a secret is blanked out."""
    if isinstance(value, Mapping):
        return {
            name: "***" if _SECRET.search(str(name)) else without_secrets(part)
            for name, part in value.items()
        }
    return [without_secrets(part) for part in value] if isinstance(value, list) else value
