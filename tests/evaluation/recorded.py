"""Recorded conversations for the tests, written by the project's authors."""

from __future__ import annotations

from warmline import Episode, Scenario, StopReason, Strategy
from warmline.agents import Role
from warmline.environments import Utterance

SEEKER, SUPPORTER = Role.SEEKER, Role.SUPPORTER


def said(role: Role, text: str, *labels: Strategy) -> Utterance:
    return Utterance(role, text, text, strategy=labels[0] if labels else None, labels=labels)


def recorded(name: str = "bakery") -> Episode:
    """A greeting by the supporter, two exchanges, the second answer in two utterances."""
    return Episode(
        id=name,
        scenario=Scenario(id=name, problem_type="Job Crisis", situation="The bakery closed."),
        stop=StopReason.RECORDED,
        source="hand-written",
        utterances=(
            said(SUPPORTER, "Hello there.", Strategy.OTHERS),
            said(SEEKER, "I lost my job."),
            said(SUPPORTER, "What happened on Monday?", Strategy.QUESTION),
            said(SEEKER, "They sold the ovens."),
            said(SUPPORTER, "You miss the smell.", Strategy.REFLECTION),
            said(SUPPORTER, "You could bake at home.", Strategy.SUGGESTION),
            said(SEEKER, "I might try."),
        ),
    )
