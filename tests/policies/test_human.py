"""A person in a seat, played by a list of typed lines."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from rich.console import Console

import warmline
from warmline.core.errors import ParticipantLeft
from warmline.policies.base import FinishReason, Message, Reply, Request
from warmline.policies.human import HumanPolicy
from warmline.policies.safety import CRISIS_GUIDANCE, DISCLAIMER

ASK = Request(
    (Message("system", "Be [kind]."), Message("user", "I lost my [job].")), role="supporter"
)
CHOOSE = Request(ASK.messages, role="judger", choices=("NO", "YES"))


def typing(*lines: str) -> Callable[[str], str]:
    """Reads the given lines, then the end of input."""
    waiting = iter(lines)

    def read(prompt: str) -> str:
        try:
            return next(waiting)
        except StopIteration:
            raise EOFError from None

    return read


class Sitting:
    """A human policy and the terminal it prints on."""

    def __init__(self, *lines: str, **options: bool) -> None:
        self.screen = io.StringIO()
        console = Console(file=self.screen, width=1000)
        self.policy = HumanPolicy(console=console, read=typing(*lines), **options)

    async def asked(self, request: Request) -> Reply:
        return await self.policy.respond(request)

    @property
    def shown(self) -> str:
        return self.screen.getvalue()


async def test_the_typed_line_is_the_answer() -> None:
    sitting = Sitting("  Tell me more.  ")
    reply = await sitting.asked(ASK)
    assert (reply.text, reply.finish_reason) == ("Tell me more.", FinishReason.STOP)
    assert "I lost my [job]." in sitting.shown
    assert "You are the supporter" in sitting.shown


async def test_an_empty_line_is_asked_again() -> None:
    assert (await Sitting("", "   ", "Yes.").asked(ASK)).text == "Yes."


async def test_disclaimer_and_brief_are_shown_once() -> None:
    sitting = Sitting("One.", "Two.")
    await sitting.asked(ASK)
    await sitting.asked(ASK)
    assert sitting.shown.count(DISCLAIMER) == 1
    assert sitting.shown.count("Be [kind].") == 1
    hidden = Sitting("One.", show_brief=False)
    await hidden.asked(ASK)
    assert DISCLAIMER in hidden.shown
    assert "Be [kind]." not in hidden.shown


@pytest.mark.parametrize(
    ("lines", "chosen"),
    [
        (["2"], "YES"),
        (["1"], "NO"),
        (["yes"], "YES"),
        (["0", "3", "maybe", "", "²", "no"], "NO"),
    ],
)
async def test_choices_by_number_or_name(lines: list[str], chosen: str) -> None:
    sitting = Sitting(*lines)
    reply = await sitting.asked(CHOOSE)
    assert (reply.text, reply.finish_reason) == (chosen, FinishReason.CHOICE)
    assert sitting.shown.count("Type a number from 1 to 2") == len(lines) - 1
    assert "2. YES" in sitting.shown


@pytest.mark.parametrize("lines", [[], ["/end"], ["", "/end"]])
async def test_end_of_input_or_end_leaves(lines: list[str]) -> None:
    with pytest.raises(ParticipantLeft, match="supporter's seat left"):
        await Sitting(*lines).asked(ASK)


async def test_crisis_language_is_answered_with_guidance() -> None:
    sitting = Sitting("I don’t want to live anymore.", "Fine now.")
    await sitting.asked(ASK)
    assert sitting.shown.count(CRISIS_GUIDANCE) == 1
    await sitting.asked(ASK)
    assert sitting.shown.count(CRISIS_GUIDANCE) == 1


async def test_leaving_closes_the_episode_normally() -> None:
    person = Sitting("I am here.", "/end").policy
    environment = warmline.SupportEnvironment(
        seeker=warmline.ScriptedPolicy(["I lost my job.", "It hurts."]), supporter=person
    )
    scenario = warmline.Scenario(id="s", problem_type="Job Crisis", situation="Closed on Monday.")
    episode = await environment.run(scenario)
    assert episode.stop is warmline.StopReason.LEFT
    assert episode.error is None
    assert not episode.truncated
    assert [u.text for u in episode.utterances] == ["I lost my job.", "I am here.", "It hurts."]
