"""One `warmline` command in a process of its own, which ends when we end, however that happens.

`python -m warmline.training.loop.child WORDS` is the child's side: the command line, and a thread that
looks whether its parent is still there. So a killed run leaves nothing behind that writes on.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence

from ...core.errors import RunError

PACKAGE = (__package__ or "").partition(".")[0]
TAIL = 3000
"""Characters of a failed command's output that an error shows."""

GRACE = 20.0
"""Seconds that an interrupted child has to save its state."""

LOOK = 0.2
"""Seconds between two looks at the parent."""

_PARENT = "WARMLINE_PARENT_PROCESS"


def output_of(words: Sequence[str], environment: Mapping[str, str]) -> Iterator[str]:
    """The lines that a command prints, errors among them, as they come.

    Args:
        words: behind `warmline`.
        environment: variables; what is set already takes precedence.

    Raises:
        RunError: it failed; with the end of what it printed.
    """
    process = subprocess.Popen(  # noqa: S603 - this very program
        [sys.executable, "-m", __name__, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,  # Ctrl-C comes to us alone, and from us to the child, once
        env={"PYTHONUNBUFFERED": "1", **environment, **os.environ, _PARENT: str(os.getpid())},
    )
    assert process.stdout is not None
    tail = ""
    try:
        for line in process.stdout:
            tail = (tail + line)[-TAIL:]
            yield line
        code = process.wait()
    except BaseException:
        _end(process)
        raise
    finally:
        process.stdout.close()
    if code:
        raise RunError(
            f"`warmline {shlex.join(words)}` ended with {code}:\n{tail}",
            hint="the same command goes on behind what is finished",
        )


def _end(process: subprocess.Popen[str]) -> None:
    """Ask a child to stop, give it time to save, and end it if it does not."""
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _leave_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK)
    os._exit(130)  # as after a kill: what is finished is on the disk


def main() -> None:
    """The child's side."""
    if parent := os.environ.pop(_PARENT, ""):
        threading.Thread(target=_leave_with, args=(int(parent),), daemon=True).start()
    sys.argv[0] = PACKAGE
    runpy.run_module(f"{PACKAGE}.cli", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
