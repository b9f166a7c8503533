"""Small corpora that the tests of analyses and judges share; all words are ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from warmline import Episode, Scenario, StopReason, Strategy
from warmline.agents.roles import Role
from warmline.environments.episodes.episode import EpisodeError, Utterance

LINES = (
    "The bakery closed and I miss the ovens.",
    "What did you like most about the bakery?",
    "The smell at four in the morning.",
    "You miss more than the pay.",
)
STRATEGIES = (Strategy.QUESTION, Strategy.REFLECTION)


def episode(
    name: str = "e1",
    lines: Sequence[str] = LINES,
    *,
    strategies: Sequence[Strategy | None] = STRATEGIES,
    problem_type: str = "Job Crisis",
    situation: str = "The bakery closed on Monday and the ovens were sold.",
    stop: StopReason = StopReason.JUDGER,
    repairs: Sequence[tuple[str, ...]] = (),
    **fields: Any,
) -> Episode:
    """An episode with alternating speakers, the seeker first."""
    utterances = []
    for index, text in enumerate(lines):
        helps = index % 2 == 1
        utterances.append(
            Utterance(
                Role.SUPPORTER if helps else Role.SEEKER,
                text,
                text,
                strategy=strategies[(index // 2) % len(strategies)] if helps else None,
                repairs=repairs[index] if repairs else (),
            )
        )
    error = None
    if stop is StopReason.ERROR:
        error = EpisodeError(type="EngineTimeout", message="too slow", role="seeker")
    return Episode(
        id=name,
        scenario=Scenario(id=name, problem_type=problem_type, situation=situation),
        stop=stop,
        error=error,
        utterances=tuple(utterances),
        **fields,
    )


def write_log(folder: Path, episodes: Sequence[Episode]) -> Path:
    """A run's folder with these episodes."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "episodes.jsonl").write_text(
        "".join(each.to_json() + "\n" for each in episodes), "utf-8"
    )
    return folder
