"""One training at a time in a folder."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from ...core.errors import InUse
from ...core.files import is_held, lock_file
from .distributed import is_first

LOCK_NAME = "training.lock"
"""Locked by the first process of a training while it trains; a kill leaves it, unlocked."""

LEAVE_WAIT = 15.0
"""Seconds for which a training waits for one whose command was killed, and which is about to end."""


def trained_alone(folder: Path) -> AbstractContextManager[None]:
    """Around a training: no other one may train into the folder meanwhile.

    Raises:
        InUse: another one does.
    """
    if not is_first():  # those that train together have one lock
        return nullcontext()
    return lock_file(folder / LOCK_NAME, _in_use(folder), wait=LEAVE_WAIT)


def refuse_trained(folder: Path) -> None:
    """Refuse a folder into which, or below which, something trains.

    Raises:
        InUse: it does.
    """
    until = time.monotonic() + LEAVE_WAIT
    for lock in folder.rglob(LOCK_NAME):
        while is_held(lock):
            if time.monotonic() >= until:
                raise _in_use(lock.parent)
            time.sleep(0.1)


def _in_use(folder: Path) -> InUse:
    return InUse(
        f"another process trains into {folder}",
        hint="wait until it has ended, or choose another folder with --out",
    )
