"""What servers did otherwise than asked, as `summary.json` counts it.

The `openai` policy notes it in each call (`Call.notes["openai"]`); refusals stand in the calls' errors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ...core.errors import ContentRefused
from ...policies.endpoints.notes import MOVED, NOTED_BY
from .episode import Episode

NOTED = ("refused_calls", "servers", "moves")
"""What is counted: calls that a content filter or a model refused, by role; calls that a server answered
otherwise than asked, by policy; and moves of a session from one of several servers to another, by their
reason."""

_REFUSED = f"{ContentRefused.__name__}:"


def noted(episode: Episode) -> Iterator[tuple[str, str]]:
    """Each such thing in an episode: one of `NOTED`, and under what it is counted."""
    for call in episode.calls:
        if call.error is not None and call.error.startswith(_REFUSED):
            yield "refused_calls", call.role
        elif call.notes is not None and isinstance(said := call.notes.get(NOTED_BY), Mapping):
            for what in _said(said):
                yield "servers", f"{call.policy} {what}"
            for move in () if call.cached else said.get(MOVED, ()):
                yield "moves", move["because"]


def _said(notes: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"without {name}" for name in notes.get("not_sent", ()))
    if notes.get("folded"):
        yield "with the system message folded into the first user message"
    if "prompt_cut" in notes:
        yield "with a prompt that the server cut"
