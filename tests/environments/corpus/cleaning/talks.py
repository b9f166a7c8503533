"""Short episodes for the filter tests, written by hand."""

from __future__ import annotations

from typing import Any

from warmline import Episode, Profile, Scenario, StopReason
from warmline.agents.roles import Role
from warmline.environments import Call, Utterance

SITUATION = (
    "My sister moved into my flat in March with two dogs and no rent. Last Sunday she sold my"
    " grandmother's piano while I was at work and called it clutter."
)
PROFILE = Profile(name="Noor Haddad", age=31, gender="female", occupation="tram driver")


def said(*texts: str, first: Role = Role.SEEKER, calls: bool = False) -> tuple[Utterance, ...]:
    """Utterances by turns."""
    roles = [Role.SEEKER, Role.SUPPORTER]
    offset = roles.index(first)
    return tuple(
        Utterance(roles[(n + offset) % 2], text, text, n if calls else None)
        for n, text in enumerate(texts)
    )


def episode(*texts: str, name: str = "e1", **changes: Any) -> Episode:
    """An imported conversation, seeker first."""
    scenario = Scenario(id=name, problem_type="Issues with Parents", situation=SITUATION)
    if "profile" in changes:
        scenario = scenario.model_copy(update={"profile": changes.pop("profile")})
    fields: dict[str, Any] = {
        "id": name,
        "scenario": scenario,
        "stop": StopReason.RECORDED,
        "utterances": said(*texts),
    }
    return Episode(**{**fields, **changes})


def seeker_says(text: str, **changes: Any) -> Episode:
    """One line of the seeker inside an unremarkable conversation."""
    return episode(*CALM[:4], text, *CALM[5:], **changes)


def supporter_says(text: str, **changes: Any) -> Episode:
    """One line of the supporter inside an unremarkable conversation."""
    return episode(*CALM[:3], text, *CALM[4:], **changes)


CALM = (
    "My sister sold the piano while I was at work.",
    "Oh no. Was it yours?",
    "It was our grandmother's, and she left it to me.",
    "So something of her went out of the door without a word to you.",
    "Yes. And she calls it clutter.",
    "That word must sting. What would you want her to understand?",
    "That I learned every song I know on it.",
    "You could tell her exactly that, maybe with one of the songs.",
    "Maybe I will, when I am less angry.",
    "There is no hurry with that.",
)


def call(**changes: Any) -> Call:
    """One model call."""
    fields: dict[str, Any] = {"role": "seeker", "policy": "tiny", "messages": (), "text": "x"}
    return Call(**{**fields, **changes})
