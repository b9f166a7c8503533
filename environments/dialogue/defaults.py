"""Limits that a run's settings leave open: the papers', or what suits a small model.

A model of 135 million parameters follows a short prompt better than a long one, ends a talk at a whim,
and has told its story after a few exchanges. So with such a model conversations are shorter, have a
minimum, and are shown whole: then a prompt only grows at its end, and an engine's prefix cache serves
the rest. What is set by hand always counts.

Who decides is the role that it is about: the supporter's model for the examples that it is shown, the
judger's for the minimum, and the seeker's, which the two sides of a comparison share, for the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ...agents.roles import Role
from ...policies.base import Policy, Sampling, capabilities_of
from .limits import Limits

SMALL: Final[Mapping[str, tuple[Role, int]]] = {
    "max_turns": (Role.SEEKER, 16),
    "history_window": (Role.SEEKER, 20),
    "case_dialogues": (Role.SUPPORTER, 0),
    "min_turns": (Role.JUDGER, 8),
}
"""By limit the role whose model decides, and the value for a small one."""

_SPEAKER = Sampling(temperature=0.5, min_p=0.1, repetition_penalty=1.05)
TRAINED_SAMPLING: Final[Mapping[Role, Sampling]] = {
    Role.SEEKER: _SPEAKER,
    Role.SUPPORTER: _SPEAKER,
    Role.COUNSELOR: Sampling(temperature=0.8),
    Role.JUDGER: Sampling(temperature=1.0),
}
"""For a small model that knows its seats.

Speakers: drawn as wide as a large model's, its words are no longer about the scenario; without any
penalty it repeats itself; and the engine's own of 1.15 bars the scenario's words, which stand in the
prompt, and the endings of short forms (`hadnnn't`). Advisers: it has learned how often each strategy
follows and how likely an end is, and the most likely answer alone is nearly always the same: it draws.
"""


def limits_for(given: Mapping[str, Any], seats: Mapping[Role, Any]) -> dict[str, Any]:
    """Every limit of a run.

    Args:
        given: the settings; None for a limit that is left open.
        seats: who sits where.
    """
    limits = {
        name: field.default if (value := given.get(name)) is None else value
        for name, field in Limits.model_fields.items()
    }
    for name, (role, value) in SMALL.items():
        if given.get(name) is None and is_small(seats.get(role)):
            limits[name] = value
    if given.get("max_turns") is None:
        limits["max_turns"] = max(limits["max_turns"], limits["min_turns"])
    elif given.get("min_turns") is None:
        limits["min_turns"] = min(limits["min_turns"], limits["max_turns"])
    return limits


def sampling_for(role: Role, policy: Policy, given: Sampling) -> Sampling:
    """How a seat draws its words, over what its role would; what is set by hand counts.

    Args:
        given: the settings.
    """
    able = capabilities_of(policy)
    if able is None or not (able.small_model and able.knows_seats):
        return given
    return given.over(TRAINED_SAMPLING[role])


def wants_openings(policy: Policy) -> bool:
    """Whether first words are put into a speaker's mouth: a small model that knows no seats."""
    able = capabilities_of(policy)
    return able is not None and able.small_model and able.prefill and not able.knows_seats


def is_small(seat: Any) -> bool:
    """Whether a small model answers for a seat: one of our agents or a policy, or nobody."""
    able = capabilities_of(getattr(seat, "policy", seat))
    return able is not None and able.small_model
