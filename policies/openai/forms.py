"""How a request binds its answer to a JSON schema, and the room such an answer takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..answers import is_strict


def response_format(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The field `response_format` of a chat completion, strict where the schema allows it."""
    form = {"name": name, "schema": dict(schema), "strict": is_strict(schema)}
    return {"response_format": {"type": "json_schema", "json_schema": form}}


def merged(given: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The user's `extra_body` with our fields over it; `chat_template_kwargs` of both are joined."""
    name = "chat_template_kwargs"
    both = {**given, **own}
    if isinstance(given.get(name), Mapping) and name in own:
        both[name] = {**given[name], **own[name]}
    return both


def json_room(option: str) -> int:
    """Tokens for `{"choice": "<option>"}`: a byte is at most one, and small models write blanks."""
    return len(option.encode()) + 96
