"""Scenarios and policies that the environment tests share."""

from __future__ import annotations

from warmline import Scenario, ScriptedPolicy


def scenario(name: str = "s1", **changes: object) -> Scenario:
    fields: dict[str, object] = {
        "id": name,
        "problem_type": "Job Crisis",
        "situation": "The bakery closed on Monday and the ovens were sold by noon.",
        "profile": "Ada, 44, baker",
    }
    return Scenario(**{**fields, **changes})


def scenarios(count: int) -> list[Scenario]:
    return [scenario(f"s{number}") for number in range(count)]


def talk(**lines: list[str]) -> ScriptedPolicy:
    """A script in which nothing ends the conversation, changed by the lines given."""
    script = {
        "seeker": ["I lost my job.", "It was the only bakery in town.", "I miss the smell."],
        "counselor": ["Question", "Reflection of Feelings"],
        "supporter": ["What happened on Monday?", "You miss more than the pay."],
        "judger": ["NO"],
    }
    return ScriptedPolicy({**script, **lines})
