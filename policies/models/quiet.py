"""The libraries of models, kept quiet while they work for us."""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class _Quiet:
    """What is loud again after the last of those who work at the same time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._bars, self._verbosity = True, 0

    def enter(self) -> None:
        from transformers.utils import logging

        with self._lock:
            # not `catch_warnings`, which belongs to one thread
            warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\..*")
            if not self._inside:
                self._bars = logging.is_progress_bar_enabled()
                self._verbosity = logging.get_verbosity()
                logging.disable_progress_bar()
                logging.set_verbosity_error()
            self._inside += 1

    def leave(self) -> None:
        from transformers.utils import logging

        with self._lock:
            self._inside -= 1
            if not self._inside:
                logging.set_verbosity(self._verbosity)
                if self._bars:
                    logging.enable_progress_bar()


_QUIET = _Quiet()


@contextmanager
def quietly() -> Iterator[None]:
    """No bars and hints of transformers' own; its errors stay, and `TRANSFORMERS_VERBOSITY` decides
    where it is set.

    Afterwards all is as before, but for its notices of what it itself still uses and deprecates.
    """
    if "TRANSFORMERS_VERBOSITY" in os.environ:
        yield
        return
    _QUIET.enter()
    try:
        yield
    finally:
        _QUIET.leave()
