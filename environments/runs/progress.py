"""The progress of a run that was started from Python: one line on standard error."""

from __future__ import annotations

import sys
import time
from typing import IO

from ..dialogue.spoken import Spoken
from ..episodes.episode import Utterance
from .events import BatchEvent, Ended, Resumed

REDRAW = 0.1
"""Least seconds between two drawings of the line."""


def is_interactive() -> bool:
    """Whether somebody watches: a terminal, or a notebook."""
    ipython = sys.modules.get("IPython")  # of others, some are imported without a notebook
    in_notebook = ipython is not None and ipython.get_ipython() is not None
    return in_notebook or sys.stderr.isatty()


class ProgressLine:
    """Observes a batch and counts its episodes, and what was said in them, on one line.

    Args:
        total: episodes asked for.
        stream: where to write; standard error by default.
    """

    def __init__(self, total: int, stream: IO[str] | None = None) -> None:
        self.total = total
        self.done = self.failed = self.said = 0
        self._stream = stream or sys.stderr
        self._drawn = 0.0
        self._width = 0

    def __call__(self, event: BatchEvent) -> None:
        if isinstance(event, Resumed):
            self.done += len(event.episodes)
            self.failed += event.failed
        elif isinstance(event, Ended):
            self.done += 1
            self.failed += event.episode.error is not None
        elif isinstance(event, Spoken) and isinstance(event.what, Utterance):
            self.said += 1
        else:
            return
        now = time.monotonic()
        if self.done == self.total or now - self._drawn > REDRAW:
            self._drawn = now
            failed = f", {self.failed} failed" if self.failed else ""
            said = f", {self.said} utterances" if self.said and self.done < self.total else ""
            line = f"{self.done}/{self.total} episodes{failed}{said}"
            erased = f"\r{' ' * self._width}" if len(line) < self._width else ""
            self._width = len(line)
            self._write(f"{erased}\r{line}")

    def say(self, line: str) -> None:
        """Write a line of its own."""
        self.end()
        self._write(f"{line}\n")

    def end(self) -> None:
        """Leave the line as it is; what is written next begins on a new one."""
        if self._drawn:
            self._write("\n")
        self._drawn = 0.0
        self._width = 0

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
