"""A person at the terminal, in any seat."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.markup import escape

from ...core.errors import ParticipantLeft
from ...core.outside.console import SafeConsole
from ...core.outside.text import is_blank
from ..base import (
    BasePolicy,
    Capabilities,
    FinishReason,
    Policy,
    Reply,
    Request,
    close_policy,
    open_policy,
)
from ..safety import CRISIS_GUIDANCE, DISCLAIMER, SUPPORTER_GUIDANCE, crisis_kinds
from .crisis_check import CrisisCheck
from .help_lines import help_lines, refuse_unknown_country
from .terminal import TERMINAL

LEAVE = "/end"
_LEAVING = frozenset({LEAVE, "/exit", "/quit"})
GO_ON = "/go"


class HumanPolicy(BasePolicy):
    """Shows what was said and reads the answer from the terminal.

    What the person sees is what the role's prompt holds, the other's latest utterance last. No
    display runs while the person is asked.

    Crisis language is looked for by rule, and by a policy too where `crisis` names one; one of the
    two is enough. What the person typed is then answered with help-line guidance, and handed on only
    after they type `/go`. A person in the supporter's seat is shown how to answer a seeker whose
    words may be about a crisis. `Reply.notes["human"]["crisis"]` holds what was found, and a check
    that failed; `docs/safety.md` has the whole of it.

    Args:
        show_brief: print the role's instructions before its first answer.
        crisis: a policy to ask beside the rules, or its settings: `{policy = "openai", ...}`.
        country: whose help lines are shown with the guidance, such as `GB`; see `help_lines.toml`.
        console: where to print; the terminal by default.
        read: reads one line given a prompt, in a thread; the terminal itself by default.

    Raises:
        ConfigError: `crisis` is not a policy, or one that cannot choose; a country without help lines.
    """

    name = "human"
    capabilities = Capabilities(max_sentences=False, seed=False)
    is_person = True

    def __init__(
        self,
        *,
        show_brief: bool = True,
        crisis: Mapping[str, Any] | Policy | None = None,
        country: str = "",
        console: Console | None = None,
        read: Callable[[str], str] | None = None,
    ) -> None:
        refuse_unknown_country(country)
        self.show_brief = show_brief
        self.country = country
        self.crisis_check = CrisisCheck.made(crisis) if crisis is not None else None
        self._console = console or SafeConsole(markup=True)
        self._read = read
        self._met: set[str] = set()
        self._advised: set[str] = set()
        self._one_at_a_time = asyncio.Lock()

    async def open(self) -> None:
        """Open the policy of the crisis check, so that its faults show before the talk."""
        if self.crisis_check is not None:
            await open_policy(self.crisis_check.policy)

    async def aclose(self) -> None:
        """Close the policy of the crisis check."""
        if self.crisis_check is not None:
            await close_policy(self.crisis_check.policy)

    def describe(self) -> dict[str, Any]:
        """The name, and the crisis check where there is one."""
        checked = {"crisis": self.crisis_check.describe()} if self.crisis_check is not None else {}
        return super().describe() | checked

    async def respond(self, request: Request) -> Reply:
        """Ask the person. An empty line is asked again; the end of input or `/end` leaves, as do
        `/exit` and `/quit`.

        Raises:
            ParticipantLeft: the person left; the episode closes normally.
        """
        started = time.perf_counter()
        async with self._one_at_a_time:
            TERMINAL.quieten()
            self._greet(request)
            self._show_latest(request)
            await self._advise_supporter(request)
            text = await self._answer(request)
            found = {} if request.choices else await self._look_for_crisis(text, request)
        return Reply(
            text=text,
            finish_reason=FinishReason.CHOICE if request.choices else FinishReason.STOP,
            latency=time.perf_counter() - started,
            policy=self.name,
            notes={"human": {"crisis": found}} if found else None,
        )

    # What is shown

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

    # Crisis language

    async def _advise_supporter(self, request: Request) -> None:
        """Show a supporter how to answer; the first time in a talk it stands until `/go`."""
        latest = request.messages[-1]
        if request.role != "supporter" or latest.role != "user":
            return
        if not (kinds := crisis_kinds(latest.content)):
            return
        self._notice(SUPPORTER_GUIDANCE, ", ".join(kinds))
        session = request.session or request.role
        if session not in self._advised:
            self._advised.add(session)
            await self._acknowledged(request, f"Type {GO_ON} to answer")

    async def _look_for_crisis(self, text: str, request: Request) -> dict[str, Any]:
        """Look for crisis language in what was typed, and give help; what a record should keep."""
        kinds = crisis_kinds(text)
        found: dict[str, Any] = {"kinds": list(kinds)} if kinds else {}
        alarm = bool(kinds)
        if not alarm and self.crisis_check is not None:
            answer = await self.crisis_check.ask(text, session=request.session)
            found["check"] = answer.notes()
            alarm = answer.crisis is True
            if answer.crisis is None:
                self._console.print(f"[dim]The crisis check failed: {escape(answer.error)}[/]")
        if alarm:
            self._notice(CRISIS_GUIDANCE, ", ".join(kinds) or "found by the crisis check")
            if self.country:
                self._console.print(escape(str(help_lines(self.country))))
            await self._acknowledged(request, f"Type {GO_ON} to send your message and go on")
        return found

    def _notice(self, guidance: str, why: str) -> None:
        self._console.print(f"[bold]{escape(guidance)}[/] [dim]({escape(why)})[/]")

    async def _acknowledged(self, request: Request, how: str) -> None:
        """Wait until the person has seen the notice: nothing else goes on before."""
        while True:
            self._console.print(f"{how}, or {LEAVE} to leave.")
            if (await self._typed(request)).casefold() == GO_ON:
                return

    # Reading

    async def _answer(self, request: Request) -> str:
        options = request.choices or ()
        for number, option in enumerate(options, 1):
            self._console.print(f"  {number}. {escape(option)}")
        while True:
            typed = await self._typed(request)
            if not options and typed:
                return typed
            if options and (chosen := _chosen(typed, options)):
                return chosen
            if options:
                self._console.print(f"Type a number from 1 to {len(options)}, or the name.")

    async def _typed(self, request: Request) -> str:
        prompt = f"{request.role}> "
        try:
            if self._read is None:
                line = await TERMINAL.read_line(prompt)
            else:
                line = await asyncio.to_thread(self._read, prompt)
        except EOFError:
            line = LEAVE
        typed = "" if is_blank(line) else line.strip()
        if typed.casefold() in _LEAVING:
            raise ParticipantLeft(f"the person in the {request.role}'s seat left")
        return typed


def is_person(policy: Policy) -> bool:
    """Whether a person answers, also behind wrappers."""
    inner = [getattr(policy, "inner", None), *getattr(policy, "policies", ())]
    return bool(getattr(policy, "is_person", False)) or any(
        is_person(one) for one in inner if one is not None
    )


def in_crisis(reply: Reply) -> bool:
    """Whether a notice was shown to the person who gave this reply."""
    found = (reply.notes or {}).get("human", {}).get("crisis", {})
    return bool(found.get("kinds")) or found.get("check", {}).get("answer") == "YES"


def _chosen(typed: str, options: tuple[str, ...]) -> str | None:
    if typed.isdecimal() and 1 <= int(typed) <= len(options):
        return options[int(typed) - 1]
    named = [option for option in options if option.casefold() == typed.casefold()]
    return named[0] if named else None
