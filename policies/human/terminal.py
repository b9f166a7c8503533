"""The terminal that people and displays share: one line is read at a time, and nothing redraws it.

A display that redraws the screen enters itself here, and is stopped before a person is asked.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ...core.outside.console import echo

READ_BYTES = 4096


class Terminal:
    """Standard input and output of this process.

    Lines are read without a thread where the event loop can watch the input, so that an interrupt
    ends the reading at once: a thread in `input()` would keep the process alive until Enter.
    """

    def __init__(self) -> None:
        self._displays: list[Callable[[], None]] = []
        self._typed = b""

    @contextmanager
    def display(self, stop: Callable[[], None]) -> Iterator[None]:
        """While this lasts, `stop` is called when a person is about to be asked."""
        self._displays.append(stop)
        try:
            yield
        finally:
            if stop in self._displays:
                self._displays.remove(stop)

    def quieten(self) -> None:
        """Stop every display, for good."""
        while self._displays:
            self._displays.pop()()

    async def read_line(self, prompt: str) -> str:
        """One line, without its end.

        Raises:
            EOFError: the input is at its end.
        """
        echo(prompt, end="")
        while b"\n" not in self._typed:
            more = await _read_some(sys.stdin.fileno())
            if not more and not self._typed:
                raise EOFError
            self._typed += more or b"\n"
        line, _, self._typed = self._typed.partition(b"\n")
        return line.decode(sys.stdin.encoding or "utf-8", "replace").removesuffix("\r")


async def _read_some(descriptor: int) -> bytes:
    """What comes next; empty at the end of the input."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    try:
        loop.add_reader(descriptor, _wake, ready)
    except (NotImplementedError, PermissionError):  # Windows; a file, which never blocks
        return await asyncio.to_thread(os.read, descriptor, READ_BYTES)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)
    try:
        return os.read(descriptor, READ_BYTES)
    except OSError:  # a terminal that was closed
        return b""


def _wake(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


TERMINAL = Terminal()
"""The one of this process."""
