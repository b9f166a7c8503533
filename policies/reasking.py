"""Asking again, a bounded number of times, for an answer that could not be read."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..core.seeds import reask_seed
from .base import Request

A = TypeVar("A")


async def ask_until_read(
    request: Request,
    ask: Callable[[Request], Awaitable[A]],
    read: Callable[[A], str | None],
    *,
    reasks: int,
) -> tuple[str | None, list[A]]:
    """Ask until an answer can be read.

    Each further question has a seed derived from the request's, so that the same request still
    gives the same reply.

    Args:
        ask: sends the request that it is given: the original one with the seed of this attempt.
        read: the text for the reply, or None if the answer is not in the form wanted.
        reasks: further questions after the first, at most.

    Returns:
        The text, or None if no answer could be read; and all answers in order, the last of them the
        one that was read. There is at least one.
    """
    answers: list[A] = []
    for nth in range(reasks + 1):
        again = dataclasses.replace(request, seed=reask_seed(request.seed, nth))
        answers.append(await ask(again))
        if (text := read(answers[-1])) is not None:
            return text, answers
    return None, answers
