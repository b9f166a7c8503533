"""From a source's words to ours: strategies, problem types, and who speaks.

The tables are in `mappings.toml`, with a reason where a line is a judgement.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from .....agents.roles import Role, Strategy, parse_strategy
from ....scenarios.problem_types import problem_types

SPEAKERS = {
    **dict.fromkeys(
        ("seeker", "speaker", "usr", "user", "client", "human", "patient", "visitor"), Role.SEEKER
    ),
    **dict.fromkeys(
        ("supporter", "listener", "sys", "assistant", "counselor", "counsellor", "therapist"),
        Role.SUPPORTER,
    ),
    **dict.fromkeys(("gpt", "chatgpt", "bot", "ai", "model"), Role.SUPPORTER),
}
"""Words for the two sides, in lower case; `sys` is ESConv's supporter."""

INSTRUCTORS = frozenset({"system", "developer", "tool", "function", "instruction"})
"""Words for those whose turns are instructions to a model, no part of the conversation."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """What a source's word becomes, and why where that is a judgement."""

    to: str
    reason: str = ""


@cache
def _tables() -> dict[str, dict[str, dict[str, Mapped]]]:
    """Kind, source, the source's word in lower case."""
    text = files(__package__).joinpath("mappings.toml").read_text("utf-8")
    return {
        kind: {
            source: {word.casefold(): _mapped(entry) for word, entry in table.items()}
            for source, table in sources.items()
        }
        for kind, sources in tomllib.loads(text).items()
    }


def _mapped(entry: Any) -> Mapped:
    return Mapped(entry) if isinstance(entry, str) else Mapped(**entry)


@cache
def _own_types() -> dict[str, str]:
    return {name.casefold(): name for name in problem_types()}


def judgement(kind: str, source: str, word: str) -> Mapped | None:
    """The table's line for a source's word (`kind` is `types` or `labels`); None if it has none."""
    return _tables().get(kind, {}).get(source, {}).get(word.strip().casefold())


def problem_type_of(source: str, word: str) -> str | None:
    """One of the 45 problem types, or None where the source's word is none of them."""
    if (mapped := judgement("types", source, word)) is not None:
        return mapped.to
    return _own_types().get(" ".join(word.split()).casefold())


@lru_cache(maxsize=1024)  # a file may hold any number of different labels
def strategy_of(source: str, word: str) -> Strategy | None:
    """One of the eight strategies, or None where the source's word is none of them."""
    if (mapped := judgement("labels", source, word)) is not None:
        return Strategy(mapped.to)
    return parse_strategy(word)


def role_of(speaker: str) -> Role | None:
    """Seeker or supporter, or None where the word means neither."""
    return SPEAKERS.get(speaker.strip().lower())
