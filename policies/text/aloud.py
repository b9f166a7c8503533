"""Hearing an answer while it is being written.

An engine that can be heard says so with `speaks_aloud = True`, and gives all text of the answer so far to
`listener()`, which it takes when it is asked. What it gives is raw and may be begun anew (an answer that
could not be read is asked for again): only the reply counts. A wrapper that asks several times and throws
answers away is silent, since it does not say that it can be heard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Hear = Callable[[str], None]
"""Called with all text of an answer so far; from any thread, and quick."""

_HEARD: ContextVar[Hear | None] = ContextVar("heard", default=None)


def speaks_aloud(policy: object) -> bool:
    """Whether a policy's answers can be heard while they are written."""
    return bool(getattr(policy, "speaks_aloud", False))


@contextmanager
def heard(policy: object, hear: Hear | None) -> Iterator[None]:
    """Hear what is asked of `policy` within, if it can be heard; what is within begins no other call."""
    token = _HEARD.set(hear if speaks_aloud(policy) else None)
    try:
        yield
    finally:
        _HEARD.reset(token)


def listener() -> Hear | None:
    """Who hears the answer that is asked for now; for engines, in the task that asks."""
    return _HEARD.get()
