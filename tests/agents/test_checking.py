"""What an own agent gives is checked before it is asked or recorded: all that is written reads back."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import warmline
from warmline.agents import Strategy
from warmline.agents.observations import Advise, Judge, Say
from warmline.core.errors import NotAnAction
from warmline.environments.episodes.log import read_episodes
from warmline.policies.base import Message

POLICY = warmline.ScriptedPolicy(record=False)
ROLES: dict[str, type[Any]] = {
    "seeker": warmline.Seeker,
    "counselor": warmline.StrategyCounselor,
    "supporter": warmline.Supporter,
    "judger": warmline.Judger,
}


def own(role: str, **methods: Any) -> Any:
    return type("Mine", (ROLES[role],), methods)(POLICY)


def reading(role: str, action: Any) -> Any:
    return own(role, read=lambda self, reply: action)


def asking(which: str, **changes: Any) -> Any:
    def request(self: Any, observation: Any, **options: Any) -> Any:
        return dataclasses.replace(ROLES[which].request(self, observation, **options), **changes)

    return own(which, request=request)


async def play(role: str, agent: Any, folder: Path) -> warmline.Episode:
    seats = dict.fromkeys(ROLES, POLICY) | {role: agent}
    environment = warmline.SupportEnvironment(**seats, max_turns=2)
    await warmline.run_batch(environment, warmline.draw_scenarios(1, seed=1), out=folder)
    return next(iter(read_episodes(folder)))


@pytest.mark.parametrize(
    ("role", "action", "said"),
    [
        ("supporter", None, "read\\(\\) of Mine gave NoneType, not Say"),
        ("supporter", Say(5), "text must be str, not int"),  # type: ignore[arg-type]
        ("supporter", Say("Hi.", "yes"), "closes must be True or False"),  # type: ignore[arg-type]
        ("seeker", Say("Hi.", False, ["x"]), "repairs must be a tuple"),  # type: ignore[arg-type]
        ("seeker", Say("Hi.", False, (5,)), "repairs must be a tuple"),  # type: ignore[arg-type]
        ("counselor", Advise("Hug"), "strategy must be a Strategy or None, not 'Hug'"),  # type: ignore[arg-type]
        ("counselor", Say("Hi."), "gave Say, not Advise"),
        ("judger", Judge("YES"), "end must be True, False or None, not 'YES'"),  # type: ignore[arg-type]
    ],
)
async def test_an_action_that_cannot_be_read_back_is_refused(
    role: str, action: Any, said: str, tmp_path: Path
) -> None:
    with pytest.raises(NotAnAction, match=said):
        await play(role, reading(role, action), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"messages": ()}, "messages must be a tuple of at least one"),
        ({"messages": [Message("user", "x")]}, "messages must be a tuple"),
        ({"messages": ({"role": "user", "content": "x"},)}, "must be a Message of system"),
        ({"messages": (Message("tool", "x"),)}, "must be a Message of system"),  # type: ignore[arg-type]
        ({"messages": (Message("user", None),)}, "content must be str, not NoneType"),  # type: ignore[arg-type]
        ({"role": 5}, "role must be str, not int"),
        ({"prefill": None}, "prefill must be str"),
        ({"sampling": {"temperature": 1}}, "sampling must be a Sampling, not dict"),
        ({"seed": 1.5}, "seed must be a whole number"),
        ({"seed": 10**400}, "seed must be a whole number"),
        ({"max_sentences": "3"}, "max_sentences must be a whole number"),
        ({"choices": (1, 2)}, "choices must be a tuple of str"),
        ({"choices": "ab"}, "choices must be a tuple of str"),
        ({"schema": {"enum": {1}}}, "schema.enum must be plain data, not set"),
        ({"schema": {"x": float("nan")}}, "schema.x must be a finite number"),
    ],
)
async def test_a_request_that_cannot_be_recorded_is_refused(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(NotAnAction, match=said):
        await play("supporter", asking("supporter", **changes), tmp_path)
    with pytest.raises(NotAnAction, match="gave NoneType, not Request"):
        await play(
            "supporter", own("supporter", request=lambda self, seen, **options: None), tmp_path
        )


async def test_what_is_right_is_recorded_with_halves_of_characters_replaced(tmp_path: Path) -> None:
    episode = await play(
        "supporter", reading("supporter", Say("I see\ud800.", repairs=("mine",))), tmp_path / "a"
    )
    assert (episode.utterances[1].text, episode.utterances[1].repairs) == (
        "I see\ufffd.",
        ("mine",),
    )
    advised = reading("counselor", Advise(Strategy.OTHERS))
    assert (await play("counselor", advised, tmp_path / "b")).utterances[
        1
    ].strategy is Strategy.OTHERS
    asked = asking("supporter", messages=(Message("user", "a\ud800"),), schema={"type": "object"})
    episode = await play("supporter", asked, tmp_path / "c")
    call = next(call for call in episode.calls if call.role == "supporter")
    assert (call.json_schema, episode.call_messages(call)[0].content) == (
        {"type": "object"},
        "a\ufffd",
    )
