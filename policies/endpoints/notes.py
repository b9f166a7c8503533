"""Which of several servers answered, as the notes of a call say it.

`notes["openai"]["endpoint"]` is the server that gave the answer, `["moved"]` lists the moves before it.
They say nothing about the answer, so equal runs may differ in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NOTED_BY = "openai"
"""The policy that writes them."""
ENDPOINT, MOVED = "endpoint", "moved"


def endpoint_of(notes: Mapping[str, Any] | None) -> str | None:
    """The server that answered a call; None where there was but one."""
    said = (notes or {}).get(NOTED_BY)
    return said.get(ENDPOINT) if isinstance(said, Mapping) else None


def without_endpoints(notes: Any) -> Any:
    """The same notes without servers and moves, also where a wrapper keeps those of its inner policy;
    None where nothing else was noted."""
    if isinstance(notes, list):
        return [without_endpoints(each) for each in notes]
    if not isinstance(notes, Mapping):
        return notes
    kept: dict[str, Any] = {}
    for name, value in notes.items():
        if name == NOTED_BY and isinstance(value, Mapping) and value.keys() & {ENDPOINT, MOVED}:
            if plain := {k: v for k, v in value.items() if k not in (ENDPOINT, MOVED)}:
                kept[name] = without_endpoints(plain)
        else:
            kept[name] = without_endpoints(value)
    return kept if kept or not notes else None
