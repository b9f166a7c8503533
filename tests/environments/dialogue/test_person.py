"""A person in a seat: on a real terminal, with a judger, and when a crisis shows."""

from __future__ import annotations

import errno
import io
import os
import pty
import re
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

import warmline
from warmline.environments.dialogue.conversation import GUIDANCE, PERSON_MIN_TURNS
from warmline.policies.base import Capabilities
from warmline.policies.human.policy import GO_ON, HumanPolicy
from warmline.policies.safety import CRISIS_GUIDANCE

from ..helpers import scenario, talk

HANG = 60.0
"""Seconds after which a terminal that shows nothing counts as hung."""
COLOUR = re.compile("\x1b\\[[0-9;]*m")
RUN = """
episodes = {episodes}
policy = "scripted"
max_turns = 6
[seeker]
policy = "human"
[counselor]
seated = false
"""


class OnTerminal:
    """`warmline simulate` in a process of its own, on a pseudo-terminal."""

    def __init__(self, folder: Path, *, episodes: int = 1) -> None:
        settings = folder / "run.toml"
        settings.write_text(RUN.format(episodes=episodes), "utf-8")
        code = "from warmline.cli import main; main()"
        command = [sys.executable, "-c", code, "simulate", "--config", str(settings)]
        self.pid, self.screen = pty.fork()
        if self.pid == 0:
            os.environ |= {"TERM": "xterm", "COLUMNS": "200", "LINES": "50"}
            os.execv(sys.executable, [*command, "--out", str(folder / "run")])
        self._raw = self.text = ""

    def shown(self, wanted: str, *, times: int = 1) -> str:
        """All that was shown, once `wanted` is on it."""
        until = time.monotonic() + HANG
        while self.text.count(wanted) < times:
            if not self._read(until):
                pytest.fail(f"never shown: {wanted!r}; the terminal: {self.text[-2000:]}")
        return self.text

    def type(self, line: str) -> None:
        os.write(self.screen, f"{line}\n".encode())

    def interrupt(self) -> None:
        os.write(self.screen, b"\x03")

    def ended(self) -> int:
        """Exit status, once the process has ended by itself."""
        until = time.monotonic() + HANG
        while self._read(until):
            pass
        assert time.monotonic() < until, "the process did not end"
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass
        os.close(self.screen)

    def _read(self, until: float) -> bool:
        ready, _, _ = select.select([self.screen], [], [], max(0.0, until - time.monotonic()))
        if not ready:
            return False
        try:
            more = os.read(self.screen, 65536)
        except OSError as error:
            assert error.errno == errno.EIO
            return False
        self._raw += more.decode("utf-8", "replace")
        self.text = COLOUR.sub("", self._raw)
        return bool(more)


@pytest.fixture
def on_terminal(tmp_path: Path) -> Iterator[Callable[..., OnTerminal]]:
    opened: list[OnTerminal] = []

    def start(**options: int) -> OnTerminal:
        opened.append(OnTerminal(tmp_path, **options))
        return opened[-1]

    yield start
    for terminal in opened:
        terminal.close()


def test_two_interrupts_end_at_once_while_a_person_is_asked(
    on_terminal: Callable[..., OnTerminal],
) -> None:
    terminal = on_terminal()
    terminal.shown("seeker> ")
    terminal.interrupt()
    terminal.shown("Ctrl-C again drops it")
    terminal.interrupt()
    assert terminal.ended() == 130
    assert "Fatal Python error" not in terminal.text


def test_end_is_an_end_and_no_failed_call(
    on_terminal: Callable[..., OnTerminal], tmp_path: Path
) -> None:
    terminal = on_terminal()
    terminal.shown("seeker> ")
    terminal.type("I lost my job.")
    terminal.shown("seeker> ", times=2)
    terminal.type("/end")
    assert terminal.ended() == 0
    (episode,) = warmline.read_episodes(tmp_path / "run/episodes.jsonl")
    assert episode.stop is warmline.StopReason.LEFT
    assert [call.error for call in episode.calls] == [None, None]


def test_no_live_display_touches_the_screen_while_a_person_types(
    on_terminal: Callable[..., OnTerminal],
) -> None:
    terminal = on_terminal()
    asked = terminal.shown("seeker> ")
    terminal.type("I want to die.")
    after = terminal.shown(f"Type {GO_ON}")[len(asked) :]
    time.sleep(0.8)  # a live display would have drawn itself three times
    terminal._read(time.monotonic() + 0.1)
    assert CRISIS_GUIDANCE in " ".join(after.split())
    moves = ("\x1b[2K", "\x1b[1A", "\x1b[0J", "\x1b[K")
    assert not [move for move in moves if move in terminal.text[len(asked) :]]
    assert terminal.text.rstrip().endswith("seeker>")
    terminal.type("/end")
    assert terminal.ended() == 0


class Typed:
    """A person who types the given lines, then leaves."""

    def __init__(self, *lines: str, **options: object) -> None:
        waiting = iter(lines)
        self.screen = io.StringIO()
        self.policy = HumanPolicy(
            console=Console(file=self.screen, width=1000),
            read=lambda prompt: next(waiting, "/end"),
            **options,
        )


async def test_a_judger_is_not_asked_before_a_person_had_a_talk() -> None:
    person = Typed(*[f"Line {n}." for n in range(9)])
    environment = warmline.SupportEnvironment(
        seeker=person.policy, supporter=talk(), judger=talk(judger=["YES"])
    )
    episode = await environment.run(scenario(), seed=1)
    assert episode.stop is warmline.StopReason.JUDGER
    assert len(episode.utterances) == PERSON_MIN_TURNS


async def test_a_set_min_turns_holds_for_people_too() -> None:
    environment = warmline.SupportEnvironment(
        seeker=Typed("One.", "Two.").policy,
        supporter=talk(),
        judger=talk(judger=["YES"]),
        min_turns=1,
    )
    assert len((await environment.run(scenario(), seed=1)).utterances) == 2


async def test_models_among_themselves_are_judged_as_before() -> None:
    environment = warmline.SupportEnvironment(
        seeker=talk(), supporter=talk(), judger=talk(judger=["YES"])
    )
    assert len((await environment.run(scenario(), seed=1)).utterances) == 2


def small_model() -> warmline.ScriptedPolicy:
    small = warmline.ScriptedPolicy(["Cheer up."])
    small.capabilities = Capabilities(small_model=True)
    return small


async def test_a_small_model_never_answers_a_person_in_crisis() -> None:
    person = Typed("I want to kill myself.", GO_ON, "I lost my job.")
    environment = warmline.SupportEnvironment(seeker=person.policy, supporter=small_model())
    episode = await environment.run(scenario(), seed=1)
    said = [u.text for u in episode.utterances]
    assert said == ["I want to kill myself.", CRISIS_GUIDANCE, "I lost my job.", "Cheer up."]
    held = episode.calls[episode.utterances[1].call]
    assert held.policy == GUIDANCE
    assert held.notes == {GUIDANCE: {"held_back": "scripted"}}


async def test_guidance_in_a_models_place_counts_as_a_turn() -> None:
    person = Typed("I want to kill myself.", GO_ON, "Not reached.")
    environment = warmline.SupportEnvironment(
        seeker=person.policy, supporter=small_model(), max_turns=2
    )
    episode = await environment.run(scenario(), seed=1)
    assert episode.stop is warmline.StopReason.TURN_LIMIT


async def test_another_model_answers_once_the_person_goes_on() -> None:
    person = Typed("I want to kill myself.", "hello?", GO_ON)
    environment = warmline.SupportEnvironment(seeker=person.policy, supporter=talk())
    episode = await environment.run(scenario(), seed=1)
    assert [u.text for u in episode.utterances] == [
        "I want to kill myself.",
        "What happened on Monday?",
    ]
    assert person.screen.getvalue().count(f"Type {GO_ON}") == 2


async def test_a_person_who_leaves_at_the_notice_is_not_answered() -> None:
    environment = warmline.SupportEnvironment(
        seeker=Typed("I want to kill myself.").policy, supporter=talk()
    )
    episode = await environment.run(scenario(), seed=1)
    assert episode.stop is warmline.StopReason.LEFT
    assert episode.utterances == ()
    assert episode.calls == ()


async def test_a_crisis_between_models_changes_nothing_in_the_talk() -> None:
    environment = warmline.SupportEnvironment(
        seeker=talk(seeker=["I want to die."]), supporter=small_model(), max_turns=2
    )
    episode = await environment.run(scenario(), seed=1)
    assert [u.text for u in episode.utterances] == ["I want to die.", "Cheer up."]
