"""Small hand-written corpora that the tests of review and export share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from warmline.agents.roles import Role, Strategy
from warmline.environments.episodes.episode import Call, Episode, StopReason, Utterance
from warmline.environments.episodes.log import EpisodeLog
from warmline.environments.scenarios.scenario import Scenario
from warmline.policies.base import Message, Sampling
from warmline.policies.safety import crisis_kinds

LINES = (
    ("seeker", "My café closed on Monday 😔 and I keep walking there."),
    ("supporter", "What takes you back there?", Strategy.QUESTION),
    ("seeker", "Habit, I think. 二十年了。"),
    ("supporter", "Twenty years leave deep paths.", Strategy.REFLECTION),
    ("seeker", "Thank you, that helps."),
    ("supporter", "Walk a new street tomorrow.", Strategy.SUGGESTION),
)


def utterances(*lines: Any) -> tuple[Utterance, ...]:
    """Utterances from (role, text) or (role, text, strategy)."""
    return tuple(
        Utterance(
            Role(role),
            text,
            text,
            strategy=strategy[0] if strategy else None,
            crisis=crisis_kinds(text),
        )
        for role, text, *strategy in lines
    )


def episode(name: str, *lines: Any, **changes: Any) -> Episode:
    """A simulated episode about a café; its situation differs by the id's root."""
    root = name.partition("~")[0]
    fields: dict[str, Any] = {
        "id": name,
        "scenario": Scenario(
            id=name,
            problem_type="Job Crisis",
            situation=f"The landlord of {root} cancelled the lease of the café by a letter.",
            profile="Ada, 44, runs a café",
            source="warmline seed pool",
        ),
        "stop": StopReason.JUDGER,
        "utterances": utterances(*(lines or LINES)),
        "messages": (Message("system", "You play a person."),),
        "calls": (
            Call("seeker", "scripted:quiet", (0,), sampling=Sampling(temperature=0.9), text="x"),
        ),
    }
    return Episode(**{**fields, **changes})


def recorded(name: str, source: str, *lines: Any) -> Episode:
    """An imported conversation."""
    return episode(name, *lines, source=source, stop=StopReason.RECORDED, calls=(), messages=())


def write_corpus(folder: Path, episodes: list[Episode]) -> Path:
    """A folder with a log of these episodes."""
    with EpisodeLog(folder / "episodes.jsonl") as log:
        for one in episodes:
            log.append(one)
    return folder
