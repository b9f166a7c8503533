"""An answer whose first process is killed, and that keeps what it was asked over all processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import warmline


class DiesOnce:
    """Answers, and kills its process at the n-th question of any process, once.

    Args:
        folder: in which it keeps the seeds that it was asked with.
        answer: the text for a request.
        at: the number of the question; 0 never kills.
    """

    def __init__(
        self, folder: Path, answer: Callable[[warmline.Request], str], at: int = 0
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file, self._dead = folder / "asked", folder / "dead"
        self._answer, self._at = answer, at

    def __call__(self, request: warmline.Request) -> str:
        with self._file.open("a") as file:
            file.write(f"{request.seed}\n")
        if self._at and len(self.asked()) >= self._at and not self._dead.exists():
            self._dead.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self._answer(request)

    def asked(self) -> list[str]:
        """The seeds of all questions so far."""
        return self._file.read_text().split() if self._file.is_file() else []
