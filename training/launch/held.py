"""torchrun, held by the command that started it: `python -m warmline.training.launch.held WORDS`.

Each byte on standard input is the number of a signal for the processes that train. torchrun would
send them SIGTERM, kill them after 30 seconds, though they are saving, and end with a traceback.
When standard input ends, the command is gone, and all of them end at once.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress

from ...core.outside.console import make_console
from ...core.tasks import SIGNAL_EXIT


def end_with_parent() -> None:
    """Have this process killed when the one that started it ends, where the system can (Linux)."""
    if sys.platform != "linux":
        return
    import ctypes

    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


class _Leash:
    """What the command says; see the module."""

    def __init__(self) -> None:
        self.asked = False
        # those that train must not read it
        self._source = os.dup(0)
        nowhere = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nowhere, 0)
        os.close(nowhere)

    def listen(self) -> None:
        """Do what it says, until this process ends."""
        while said := os.read(self._source, 1):
            self.asked = True
            logging.disable()  # torchrun's words for processes that end
            if not _send(said[0]):
                os._exit(SIGNAL_EXIT + said[0])  # before any was started
        _send(getattr(signal, "SIGKILL", signal.SIGTERM))
        os._exit(1)


def _send(number: int) -> bool:
    """Send a signal to all processes that were started here; whether there is any."""
    import psutil  # accelerate needs it too

    started = psutil.Process().children()
    for process in started:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
    return bool(started)


def main(words: Sequence[str]) -> int:
    """Run torchrun with these arguments; the exit code."""
    leash = _Leash()
    threading.Thread(target=leash.listen, daemon=True).start()
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    try:
        torchrun(list(words))
    except ChildFailedError as error:
        for rank, failure in sorted(error.failures.items()):
            if not leash.asked:
                code = failure.exitcode
                how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                make_console(stderr=True).print(f"process {rank} ended with {how}", soft_wrap=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
