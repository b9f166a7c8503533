"""A person at the terminal, in any seat."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from rich.console import Console
from rich.markup import escape

from ..core.errors import ParticipantLeft
from ..core.outside.console import SafeConsole
from .base import BasePolicy, Capabilities, FinishReason, Reply, Request
from .safety import CRISIS_GUIDANCE, DISCLAIMER, crisis_kinds

LEAVE = "/end"


class HumanPolicy(BasePolicy):
    """Shows what was said and reads the answer from the terminal.

    What the person sees is what the role's prompt holds, the other's latest utterance last. Crisis
    language, typed by the person, is answered with help-line guidance at once.

    Args:
        show_brief: print the role's instructions before its first answer.
        console: where to print; the terminal by default.
        read: reads one line given a prompt; `input` by default. Called in a thread.
    """

    name = "human"
    capabilities = Capabilities(max_sentences=False, seed=False)

    def __init__(
        self,
        *,
        show_brief: bool = True,
        console: Console | None = None,
        read: Callable[[str], str] = input,
    ) -> None:
        self.show_brief = show_brief
        self._console = console or SafeConsole(markup=True)
        self._read = read
        self._met: set[str] = set()
        self._one_at_a_time = asyncio.Lock()

    async def respond(self, request: Request) -> Reply:
        """Ask the person. An empty line is asked again; the end of input or `/end` leaves.

        Raises:
            ParticipantLeft: the person left; the episode closes normally.
        """
        started = time.perf_counter()
        async with self._one_at_a_time:
            self._greet(request)
            self._show_latest(request)
            text = await self._answer(request)
            for kind in crisis_kinds(text):
                self._console.print(f"[bold]{escape(CRISIS_GUIDANCE)}[/] [dim]({kind})[/]")
                break
        return Reply(
            text=text,
            finish_reason=FinishReason.CHOICE if request.choices else FinishReason.STOP,
            latency=time.perf_counter() - started,
            policy=self.name,
        )

    def _greet(self, request: Request) -> None:
        session = request.session or request.role
        if session in self._met:
            return
        self._met.add(session)
        self._console.print(f"[dim]{escape(DISCLAIMER)}[/]")
        self._console.print(
            f"You are the [bold]{escape(request.role or 'speaker')}[/]. Type {LEAVE} to leave."
        )
        if self.show_brief and request.messages[0].role == "system":
            self._console.print(f"[dim]{escape(request.messages[0].content)}[/]\n")

    def _show_latest(self, request: Request) -> None:
        latest = request.messages[-1]
        if latest.role == "user":
            self._console.print(escape(latest.content))

    async def _answer(self, request: Request) -> str:
        options = request.choices or ()
        for number, option in enumerate(options, 1):
            self._console.print(f"  {number}. {escape(option)}")
        while True:
            try:
                typed = (await asyncio.to_thread(self._read, f"{request.role}> ")).strip()
            except EOFError:
                typed = LEAVE
            if typed == LEAVE:
                raise ParticipantLeft(f"the person in the {request.role}'s seat left")
            if not options and typed:
                return typed
            if options and (chosen := _chosen(typed, options)):
                return chosen
            if options:
                self._console.print(f"Type a number from 1 to {len(options)}, or the name.")


def _chosen(typed: str, options: tuple[str, ...]) -> str | None:
    if typed.isdecimal() and 1 <= int(typed) <= len(options):
        return options[int(typed) - 1]
    named = [option for option in options if option.casefold() == typed.casefold()]
    return named[0] if named else None
