"""A stage in a process of its own: a plain function with its settings, started fresh (spawned).

Why not in this one: engines keep memory after they are closed (GPU contexts, libraries' pools), a
preset's environment variables are read when the libraries are loaded, and a crash of native code
must cost one stage and not the whole run. The child ends when its parent ends, however that
happens.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection, wait
from typing import Any

from ...core.errors import RunError, WarmlineError
from ...core.outside.console import echo

TAIL = 3000
"""Characters of a failed stage's output that an error shows."""

START = "spawn"
"""How a child begins (`multiprocessing`); tests that start many give another."""

GRACE = 20.0
"""Seconds that an interrupted child has to save its state."""

FAILED, CRASHED, KILLED = 2, 1, 130
"""Exit codes: a deliberate error, any other exception, and an interrupt or a lost parent."""


def output_of(
    function: Callable[[Any], None], settings: Any, environment: Mapping[str, str], *, shown: str
) -> Iterator[str]:
    """The lines that a function prints in a process of its own, errors among them, as they come.

    Args:
        function: of a module, so that the new process can import it.
        settings: its argument.
        environment: variables; what is set already takes precedence.
        shown: names the work in the error.

    Raises:
        RunError: it failed; with the end of what it printed.
    """
    context: Any = multiprocessing.get_context(START)
    reader, writer = context.Pipe(duplex=False)
    # pickled here, so that the child sets its environment before it imports what is in it
    work = pickle.dumps((function, settings))
    process = context.Process(target=_child, args=(writer, dict(environment), work))
    process.start()
    writer.close()  # the child has its own; so the stream ends when the child ends
    tail = ""
    with os.fdopen(os.dup(reader.fileno()), encoding="utf-8", errors="replace") as lines:
        reader.close()
        try:
            for line in lines:
                tail = (tail + line)[-TAIL:]
                yield line
            process.join()
        except BaseException:
            _end(process)
            raise
    if process.exitcode:
        raise RunError(
            f"`{shown}` ended with {process.exitcode}:\n{tail}",
            hint="the same command resumes after what is finished",
        )


def _end(process: Any) -> None:
    """Ask a child to stop, give it time to save, and end it if it does not."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, signal.SIGINT)
    process.join(GRACE)
    if process.is_alive():
        process.kill()
        process.join()


def _child(writer: Connection, environment: Mapping[str, str], work: bytes) -> None:
    """The child's side: output into the pipe, then the function."""
    for name, value in environment.items():
        os.environ.setdefault(name, value)
    with contextlib.suppress(AttributeError, OSError):
        os.setsid()  # Ctrl-C comes to the parent alone, and from it to the child, once
    for stream in (1, 2):
        os.dup2(writer.fileno(), stream)
    writer.close()
    sys.stdout = sys.stderr = os.fdopen(
        1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False
    )
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    sys.exit(_run(work))


def _run(work: bytes) -> int:
    try:
        function, settings = pickle.loads(work)  # noqa: S301 - written by our parent process
        function(settings)
    except KeyboardInterrupt:
        return KILLED
    except WarmlineError as error:
        echo(f"error: {error}")
        return FAILED
    except Exception:  # noqa: BLE001 - reported to the parent with the exit code
        traceback.print_exc()
        return CRASHED
    return 0


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(KILLED)  # as after a kill: what is finished is on the disk
