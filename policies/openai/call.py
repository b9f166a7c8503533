"""What one `respond` costs and what the server did with it, over all requests that it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..base import Usage
from ..endpoints.notes import ENDPOINT, MOVED
from .cut_prompts import cut_prompt
from .dialect import Dialect, has_system, text_of
from .replies import Completion


@dataclass(slots=True)
class Call:
    """The cost of one `respond` so far.

    Attributes:
        attempts: HTTP requests sent.
        usage: tokens of all answers read, or None if the server did not report one of them.
        retry_after: seconds the last refusal asked to wait, if it did.
        session: routing key: requests with the same one share most of their prefix.
        notes: what the server did otherwise than asked, as the record keeps it.
    """

    attempts: int = 0
    usage: Usage | None = field(default_factory=Usage)
    retry_after: float | None = None
    session: str = ""
    notes: dict[str, Any] = field(default_factory=dict)

    def count(self, completion: Completion) -> None:
        """Add the tokens of an answer."""
        known = self.usage is not None and completion.usage is not None
        self.usage = self.usage + completion.usage if known else None  # type: ignore[operator]

    def note(
        self,
        asked: Mapping[str, Any],
        sent: Mapping[str, Any],
        dialect: Dialect,
        completion: Completion,
    ) -> None:
        """Note what the server was not sent of what was asked, and whether it cut the prompt."""
        if left_out := dialect.dropped & asked.keys():
            self.left_out(*left_out)
        if dialect.folds_system and has_system(asked):
            self.notes["folded"] = ["system"]
        if (cut := cut_prompt(text_of(sent["messages"]), completion.usage)) is not None:
            self.notes["prompt_cut"] = {"reported": cut[0], "sent_at_least": cut[1]}

    def answered_by(self, base_url: str) -> None:
        """Note which of several servers gave the answer."""
        self.notes[ENDPOINT] = base_url

    def moved(self, here: str, there: str, because: str) -> None:
        """Note that the session, or this request of it, went to another server than before."""
        self.notes.setdefault(MOVED, []).append({"from": here, "to": there, "because": because})

    def left_out(self, *names: str) -> None:
        """Note fields that were not sent."""
        self.notes["not_sent"] = sorted({*self.notes.get("not_sent", ()), *names})
