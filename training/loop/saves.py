"""When a training saves besides its evaluations: every few minutes, and when it is asked to stop."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback


class TimedSaves(TrainerCallback):  # type: ignore[misc]
    """Saves after some minutes, and once more before stopping when asked to stop.

    Attributes:
        stopping: set from a signal handler.
    """

    def __init__(self, minutes: float) -> None:
        self._seconds, self._saved = minutes * 60, time.monotonic()
        self.stopping = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._saved = time.monotonic()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if time.monotonic() - self._saved > self._seconds:
            control.should_save = True
        if self.stopping:
            control.should_save = control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._saved = time.monotonic()


@contextmanager
def stop_on_interrupt(saves: TimedSaves) -> Iterator[None]:
    """The first Ctrl-C ends the step and saves; the second ends at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may take signals
        return

    def on_interrupt(number: int, frame: Any) -> None:
        if saves.stopping:
            raise KeyboardInterrupt
        saves.stopping = True

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
