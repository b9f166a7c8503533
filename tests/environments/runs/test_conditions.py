"""A simulated supporter's condition and its decoding, as a run's settings name them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from warmline.agents.roles import Role
from warmline.core.errors import ConfigError
from warmline.environments.runs.settings import RunSettings
from warmline.environments.runs.simulate import build_environment, simulate
from warmline.evaluation.selfplay.settings import SelfPlaySettings

PUBLISHED = {"temperature": 0.9, "top_p": 0.8, "top_k": 50, "repetition_penalty": 1.2}


def asked(role: Role, **given: Any) -> Any:
    """What one seat's settings come to."""
    return RunSettings(policy="scripted", **given).role(role)


def test_a_preset_is_the_supporters_decoding_alone(tmp_path: Path) -> None:
    made = simulate(policy="scripted", preset="self-evolution", episodes=1, max_turns=4)
    drawn = {call.role: call.sampling.as_dict() for call in made[0].calls}
    assert {k: drawn["supporter"].get(k) for k in PUBLISHED} == PUBLISHED
    assert drawn["seeker"].get("top_k") is None


def test_what_is_given_counts_before_the_preset() -> None:
    how = asked(Role.SUPPORTER, preset="self-evolution", temperature=0.1, supporter={"top_k": 7})
    assert (how.temperature, how.top_k, how.top_p) == (0.1, 7, 0.8)


def test_self_play_decodes_both_sides_so() -> None:
    settings = SelfPlaySettings(
        policy="scripted", preset="self-evolution", out="x", a={"model": "one"}, b={"top_k": 3}
    )
    sides = [settings.of(side, 0).role(Role.SUPPORTER) for side in ("a", "b")]
    assert [side.top_k for side in sides] == [50, 3]
    assert [side.repetition_penalty for side in sides] == [1.2, 1.2]


@pytest.mark.parametrize(
    ("condition", "advised", "listed"),
    [(None, True, False), ("advised", True, False), ("hidden", False, False),
     ("listed", False, True), ("self", False, True)],
)  # fmt: skip
def test_a_condition_is_the_prompt_and_the_counselors_seat(
    condition: str | None, advised: bool, listed: bool
) -> None:
    seat = {} if condition is None else {"strategy": condition}
    [episode] = simulate(
        policy="scripted",
        episodes=1,
        max_turns=4,
        case_dialogues=0,
        supporter={"policy": "scripted", **seat},
    )
    roles = {call.role for call in episode.calls}
    assert ("counselor" in roles) is advised
    call = next(c for c in episode.calls if c.role == "supporter")
    system = episode.call_messages(call)[0].content
    assert ("Reflection of Feelings" in system) is listed


def test_the_sides_of_self_play_may_differ_in_condition() -> None:
    settings = SelfPlaySettings(
        policy="scripted", out="x", a={"strategy": "listed"}, b={"strategy": "advised"}
    )
    seated = [build_environment(settings.of(side, 0)).counselor for side in ("a", "b")]
    assert (seated[0], seated[1] is not None) == (None, True)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"supporter": {"strategy": "oracle"}}, "a new conversation has no labels to show"),
        ({"seeker": {"strategy": "listed"}}, "seeker.strategy: only a supporter"),
        (
            {"supporter": {"strategy": "advised"}, "counselor": {"seated": False}},
            "supporter.strategy advised needs a counselor",
        ),
    ],
)
def test_conditions_without_a_meaning_are_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        RunSettings(policy="scripted", **given)
