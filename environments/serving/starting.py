"""What every web server here shares: its log without secrets, and the error of a start that failed.

An application whose policies cannot be opened keeps the error and raises it; the server then ends,
and the error is raised here instead of being printed with its trace.
"""

from __future__ import annotations

import copy
import logging
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import uvicorn
from uvicorn.config import LOGGING_CONFIG
from uvicorn.logging import DefaultFormatter

from ...core.errors import RunError, WarmlineError
from ...core.outside.secrets import hide_secrets

Failure = Callable[[], WarmlineError | None]


class Hiding(DefaultFormatter):
    """Lines of the server's log, and the traces below them, without known secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """One entry."""
        return hide_secrets(super().format(record))


class Unsaid(logging.Filter):
    """Leaves out what a server says of a start whose error is raised.

    Args:
        failure: gives that error, if there is one.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__()
        self._failure = failure

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether an entry is written."""
        return self._failure() is None


def logs_of(failure: Failure) -> dict[str, Any]:
    """The configuration of a server's log; see `Unsaid`."""
    logs = copy.deepcopy(LOGGING_CONFIG)
    logs["formatters"]["default"]["()"] = Hiding
    logs["filters"] = {"unsaid": {"()": Unsaid, "failure": failure}}
    logs["handlers"]["default"]["filters"] = ["unsaid"]
    return logs


def run_to_end(server: uvicorn.Server, bound: socket.socket, failure: Failure) -> None:
    """Serve until the process is stopped.

    Args:
        bound: listens.
        failure: why the application's policies could not be opened, once that is known.

    Raises:
        WarmlineError: why the application's policies could not be opened.
        RunError: another reason why it could not start, which was printed.
    """
    with suppress(SystemExit):  # uvicorn's own, where it could not start
        server.run(sockets=[bound])
    if not server.started:
        printed = RunError("the server could not start", hint="what went wrong is said above")
        raise failure() or printed
