"""How a request binds its answer to a JSON schema, and the room such an answer takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..answers import is_strict


def response_format(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The field `response_format` of a chat completion, strict where the schema allows it."""
    form = {"name": name, "schema": dict(schema), "strict": is_strict(schema)}
    return {"response_format": {"type": "json_schema", "json_schema": form}}


def json_room(option: str) -> int:
    """Tokens for `{"choice": "<option>"}`: a byte is at most one, and small models write blanks."""
    return len(option.encode()) + 96
