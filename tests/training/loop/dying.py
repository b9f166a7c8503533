"""The command line in a process that dies behind a training's last step, before its checkpoint is whole."""

from __future__ import annotations

import os

from ...warm import command
from .divided import divided_command

DIED = 9


def dying_command(*words: str) -> None:
    """The command line `warmline WORDS`, in this process."""
    from warmline.training.loop import loop

    loop.write_checkpoint = lambda *_: os._exit(DIED)  # type: ignore[assignment]
    (divided_command if "--fsdp" in words else command)(*words)
