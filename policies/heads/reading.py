"""What a trained classifier reads of a prompt: a pure view of its messages, the same in training.

A prompt for a language model explains the task; a head has learned the task, so instructions and
notes add nothing. Without them a dialogue's prompts share their beginning, and one pass can serve
all its turns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..base import Message

View = Literal["dialogue", "asked"]

SYSTEM = Message("system", "An emotional-support conversation.")
"""Comes first: many chat templates insert a longer text if there is no system message."""
EARLIER = Message("user", "(Earlier part left out.)")
"""Comes before a dialogue that begins with the assistant, which strict chat templates refuse."""

_NOTE = re.compile(r"\n\n\((?:[^()]|\([^()]*\))*\)\s*\Z")


@dataclass(frozen=True, slots=True)
class Reading:
    """How a classifier reads prompts; a checkpoint's settings hold the same three names.

    Attributes:
        prompt: `dialogue` sees only what was said; `asked` sees the messages unchanged.
        history_window: latest messages seen; None sees all. Only for `dialogue`.
        max_tokens: maximum prompt length; the oldest messages of a longer dialogue are left out.
    """

    prompt: View = "dialogue"
    history_window: int | None = None
    max_tokens: int = 1024

    def view(self, messages: Sequence[Message], *, drop: int = 0) -> tuple[Message, ...]:
        """The messages as they are seen.

        Args:
            messages: of a request; a final one by the assistant is a reply to be judged.
            drop: number of the oldest dialogue messages that are left out as well.
        """
        if self.prompt == "asked":
            return tuple(messages)
        said = [message for message in messages if message.role != "system"]
        said = [*said[:-2], *map(without_note, said[-2:])] if said else said
        start = 0 if self.history_window is None else max(0, len(said) - self.history_window)
        kept = said[min(start + drop, max(0, len(said) - 1)) :]
        opening = [EARLIER] if kept and kept[0].role == "assistant" else []
        return (SYSTEM, *opening, *kept)


def without_note(message: Message) -> Message:
    """A user message without the note in brackets that an agent appends to what was said."""
    if message.role != "user":
        return message
    return Message("user", _NOTE.sub("", message.content))
