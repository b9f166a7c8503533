"""What is printed: consoles and lines that no model's text can command.

Everything that a command prints goes through `make_console`, `echo` or `echo_json`. Square brackets and
colons in a text mean nothing there, and control characters are shown as symbols (`text.py`).
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterable
from typing import Any, TextIO

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from .text import printable

_NOT_PLAIN = re.compile("[\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters beyond JSON's own escapes that a terminal or a line reader may obey."""
_NOT_ASCII = re.compile("[^\x00-\x7e]")


class SafeConsole(Console):
    """A console that prints text as it is: no markup, no emoji codes, no control characters."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"markup": False, "emoji": False, **options})

    def on_broken_pipe(self) -> None:
        """Nobody reads any more (`| head`): nothing is printed from now on, and the work goes on."""
        self.quiet = True
        _go_unheard(sys.stderr if self.stderr else sys.stdout)

    def render_str(self, text: str, **options: Any) -> Text:
        """A text for a cell or a title, printable before its width is measured."""
        return super().render_str(printable(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """The segments of anything printable. Text is made printable before it is laid out."""
        for segment in super().render(_safe(renderable), options):
            if segment.control or (text := printable(segment.text)) == segment.text:
                yield segment
            else:
                yield Segment(text, segment.style)


def _safe(renderable: RenderableType) -> RenderableType:
    if isinstance(renderable, str):
        return printable(renderable)
    if isinstance(renderable, Text) and (text := printable(renderable.plain)) != renderable.plain:
        shown = renderable.copy()
        shown.plain = text
        return shown
    return renderable


def make_console(*, stderr: bool = False, quiet: bool = False, soft_wrap: bool = False) -> Console:
    """A console for what a command prints.

    Args:
        stderr: print there, for what does not belong to the result.
        quiet: print nothing.
        soft_wrap: leave long lines to the terminal.
    """
    return SafeConsole(stderr=stderr, quiet=quiet, soft_wrap=soft_wrap)


def echo(text: str, *, end: str = "\n") -> None:
    """Print plain text on standard output."""
    _put(printable(text) + end)


def _put(text: str) -> None:
    try:
        typer.echo(text, nl=False)
    except BrokenPipeError:
        _go_unheard(sys.stdout)


def _go_unheard(stream: TextIO) -> None:
    """Have what a closed pipe refuses go nowhere, also what is in its buffer."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def echo_json(text: str, *, end: str = "\n") -> None:
    """Print a JSON text, or lines of it, on standard output; valid whatever its encoding is.

    What a terminal could obey is escaped; all that is not ASCII, where the output is not UTF-8.
    """
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower().replace("-", "")
    escaped = _NOT_PLAIN if encoding.startswith("utf") else _NOT_ASCII
    _put(escaped.sub(lambda found: _escape(found[0]), text) + end)


def _escape(character: str) -> str:
    """A character as JSON escapes it, in two halves where it is beyond 16 bits."""
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


def never_fail_to_print(*, heard: bool = True) -> None:
    """Have standard output and error escape what their encoding cannot hold, and not raise.

    Args:
        heard: False where standard output can take no more: what is left of it goes nowhere.
    """
    if not heard:
        _go_unheard(sys.stdout)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
