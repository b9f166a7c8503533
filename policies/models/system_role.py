"""Models without a system role (Gemma, the first Mistral): its text opens the first user message.

Gemma's own template joins the two in the same way where it takes a system message at all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..base import Message

SEPARATOR = "\n\n"
"""Between the system's text and the user's."""

_MARK = "warmline"
_SYSTEM, _USER = Message("system", _MARK), Message("user", "Hello.")


def fold_system(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The messages without system role: the text of each is put before the next user message.

    Roles alternate afterwards where they alternated without the system messages. Text that no user
    message follows, or that an assistant's comes before, becomes a user message, or the end of the
    one before it.
    """
    folded: list[Message] = []
    waiting: list[str] = []
    for message in messages:
        if message.role == "system":
            waiting.append(message.content)
        elif message.role == "user":
            text = SEPARATOR.join(filter(None, [*waiting, message.content]))
            folded.append(replace(message, content=text))
            waiting = []
        else:
            _put(folded, waiting)
            folded.append(message)
    _put(folded, waiting)
    return tuple(folded)


def _put(folded: list[Message], waiting: list[str]) -> None:
    """Say what waits as a user, in the same message where the user spoke last."""
    if not waiting:
        return
    if folded and folded[-1].role == "user":
        waiting.insert(0, folded.pop().content)
    folded.append(Message("user", SEPARATOR.join(filter(None, waiting))))
    waiting.clear()


def takes_system(render: Callable[[Sequence[Message]], str | None]) -> bool:
    """Whether a chat template has a place for a system message.

    Args:
        render: the messages as the template writes them, or None where it refuses them.

    A template that refuses user messages too is not judged.
    """
    if (text := render((_SYSTEM, _USER))) is not None:
        return _MARK in text
    return render((_USER,)) is None
