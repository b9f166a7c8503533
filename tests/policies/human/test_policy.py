"""A person in a seat, played by a list of typed lines."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable

import pytest
from rich.console import Console

import warmline
from warmline.core.errors import ConfigError, EngineUnavailable, ParticipantLeft
from warmline.policies.base import (
    BasePolicy,
    Capabilities,
    FinishReason,
    Message,
    Reply,
    Request,
)
from warmline.policies.human.policy import GO_ON, HumanPolicy, in_crisis, is_person
from warmline.policies.safety import CRISIS_GUIDANCE, DISCLAIMER, SUPPORTER_GUIDANCE
from warmline.policies.wrappers.fallback import Fallback

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

    def __init__(self, *lines: str, **options: object) -> None:
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


@pytest.mark.parametrize(
    "lines",
    [[], ["/end"], ["", "/end"], [" /End "], ["/quit"], ["/exit"], ["\u200b\ufeff", "/end"]],
)
async def test_end_of_input_or_end_leaves(lines: list[str]) -> None:
    with pytest.raises(ParticipantLeft, match="supporter's seat left"):
        await Sitting(*lines).asked(ASK)


async def test_crisis_language_is_answered_with_guidance() -> None:
    sitting = Sitting("I don’t want to live anymore.", GO_ON, "Fine now.")
    reply = await sitting.asked(ASK)
    assert reply.text == "I don’t want to live anymore."
    assert reply.notes == {"human": {"crisis": {"kinds": ["suicide"]}}}
    assert sitting.shown.count(CRISIS_GUIDANCE) == 1
    assert (await sitting.asked(ASK)).notes is None
    assert sitting.shown.count(CRISIS_GUIDANCE) == 1


async def test_a_notice_stands_until_it_is_acknowledged() -> None:
    sitting = Sitting("I want to die.", "", "what?", GO_ON.upper())
    await sitting.asked(ASK)
    assert sitting.shown.count(f"Type {GO_ON} to send your message") == 3
    with pytest.raises(ParticipantLeft):
        await Sitting("I want to die.", "/end").asked(ASK)


async def test_a_supporter_is_shown_how_to_answer_a_seeker_in_crisis() -> None:
    heard = Request((Message("user", "I took all my pills."),), role="supporter", session="a")
    sitting = Sitting(GO_ON, "Are you safe now?", "Stay with me.")
    assert (await sitting.asked(heard)).text == "Are you safe now?"
    assert (await sitting.asked(heard)).text == "Stay with me."
    assert sitting.shown.count(SUPPORTER_GUIDANCE) == 2
    assert sitting.shown.count(f"Type {GO_ON} to answer") == 1


async def test_a_seeker_is_not_shown_the_supporters_guidance() -> None:
    heard = Request((Message("user", "Do you think of suicide?"),), role="seeker")
    sitting = Sitting("No.")
    await sitting.asked(heard)
    assert SUPPORTER_GUIDANCE not in sitting.shown


def saying(answer: str) -> warmline.ScriptedPolicy:
    return warmline.ScriptedPolicy([answer])


async def test_a_policy_may_find_what_the_rules_do_not() -> None:
    sitting = Sitting("The kettle is cold tonight.", GO_ON, crisis=saying("YES"))
    reply = await sitting.asked(ASK)
    assert reply.notes["human"]["crisis"]["check"]["answer"] == "YES"
    assert "kinds" not in reply.notes["human"]["crisis"]
    assert sitting.shown.count(CRISIS_GUIDANCE) == 1
    assert in_crisis(reply)


async def test_a_policy_that_sees_nothing_leaves_the_talk_alone() -> None:
    sitting = Sitting("The kettle is cold tonight.", crisis=saying("NO"))
    reply = await sitting.asked(ASK)
    assert reply.notes["human"]["crisis"]["check"]["answer"] == "NO"
    assert CRISIS_GUIDANCE not in sitting.shown
    assert not in_crisis(reply)


class Failing(BasePolicy):
    """Cannot be reached, or never answers."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.asked = 0

    async def respond(self, request: Request) -> Reply:
        self.asked += 1
        await asyncio.sleep(self.seconds)
        raise EngineUnavailable("the server is away")


async def test_a_failing_policy_hides_nothing_and_ends_nothing() -> None:
    away = Failing()
    sitting = Sitting("I want to die.", GO_ON, "It rains.", crisis=away)
    reply = await sitting.asked(ASK)
    assert sitting.shown.count(CRISIS_GUIDANCE) == 1
    assert (reply.notes["human"]["crisis"], away.asked) == ({"kinds": ["suicide"]}, 0)
    reply = await sitting.asked(ASK)
    assert reply.text == "It rains."
    failed = reply.notes["human"]["crisis"]["check"]["failed"]
    assert failed == "EngineUnavailable: the server is away"
    assert "The crisis check failed: EngineUnavailable" in sitting.shown
    assert sitting.policy.crisis_check.failed == 1


async def test_a_check_that_does_not_answer_is_not_waited_for() -> None:
    sitting = Sitting("It rains.", crisis={"policy": Failing(30.0), "seconds": 0.01})
    reply = await sitting.asked(ASK)
    failed = reply.notes["human"]["crisis"]["check"]["failed"]
    assert failed == "EngineTimeout: no answer within 0.01 s"


async def test_the_check_is_named_in_settings_and_in_the_identity() -> None:
    by_name = HumanPolicy(crisis={"policy": "scripted", "script": {"crisis_check": ["YES"]}})
    assert (await by_name.crisis_check.ask("anything")).crisis is True
    assert by_name.describe()["crisis"]["policy"] == "scripted"
    assert HumanPolicy().describe() == {"policy": "human"}


@pytest.mark.parametrize("crisis", [{}, {"model": "x"}, {"policy": Failing(), "model": "x"}])
def test_crisis_settings_need_a_policy(crisis: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="need 'policy' by name"):
        HumanPolicy(crisis=crisis)


def test_a_check_that_cannot_choose_is_refused() -> None:
    writer = Failing()
    writer.capabilities = Capabilities(choices=False)
    with pytest.raises(ConfigError, match="answers by choice, not Failing"):
        HumanPolicy(crisis=writer)


async def test_an_answer_that_is_neither_yes_nor_no_is_a_failure() -> None:
    class Rambling(BasePolicy):
        async def respond(self, request: Request) -> Reply:
            return Reply("perhaps")

    sitting = Sitting("It rains.", crisis=Rambling())
    reply = await sitting.asked(ASK)
    assert "UnreadableReply" in reply.notes["human"]["crisis"]["check"]["failed"]


async def test_people_are_known_behind_wrappers() -> None:
    person = HumanPolicy()
    assert is_person(person)
    assert is_person(Fallback(saying("x"), then=Fallback(saying("y"), then=person)))
    assert not is_person(Fallback(saying("x"), then=saying("y")))


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
