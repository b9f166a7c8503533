"""How the next token is drawn, and how a model thinks before it answers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from ..core.errors import ConfigError
from .thinking.switches import LEVELS, Thinking


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn. `None` leaves a setting to the engine's own default.

    Attributes:
        temperature: 0 is greedy.
        top_p: nucleus mass in (0, 1].
        top_k: number of most likely tokens kept; 0 keeps all.
        min_p: least probability, relative to the most likely token, in [0, 1).
        repetition_penalty: divides the logits of tokens already seen; 1 is none.
        max_tokens: maximum number of tokens in the answer.
        thinking: whether the model thinks before it answers (`off`, `on`), or how much (`low`,
            `medium`, `high`).
        max_thinking_tokens: maximum number of tokens that it thinks, besides `max_tokens`.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    max_tokens: int | None = None
    thinking: Thinking | None = None
    max_thinking_tokens: int | None = None

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be {allowed}, not {value!r}"
            for name, value, ok, allowed in (
                ("temperature", self.temperature, _at_least(0, self.temperature), "at least 0"),
                ("top_p", self.top_p, _within(0, self.top_p, 1), "above 0 and at most 1"),
                ("top_k", self.top_k, _at_least(0, self.top_k), "at least 0"),
                ("min_p", self.min_p, _at_least(0, self.min_p) and _below(1, self.min_p),
                 "at least 0 and below 1"),
                ("repetition_penalty", self.repetition_penalty,
                 _within(0, self.repetition_penalty, 10), "above 0 and at most 10"),
                ("max_tokens", self.max_tokens, _at_least(1, self.max_tokens), "at least 1"),
                ("thinking", self.thinking, self.thinking in (None, *LEVELS),
                 f"one of {', '.join(LEVELS)}"),
                ("max_thinking_tokens", self.max_thinking_tokens,
                 _at_least(1, self.max_thinking_tokens), "at least 1"),
            )
            if not ok
        ]  # fmt: skip
        if problems:
            raise ConfigError("sampling settings out of range", problems=problems)

    def over(self, defaults: Sampling) -> Sampling:
        """These settings, with `defaults` where this one says None."""
        mine: dict[str, Any] = {**self.as_dict()}
        return dataclasses.replace(defaults, **mine)

    def as_dict(self) -> dict[str, Any]:
        """Only the settings that are set."""
        return {name: v for name in self.__slots__ if (v := getattr(self, name)) is not None}


def set_fields(sampling: Sampling) -> tuple[str, ...]:
    """Names of the settings that are set.

    Kept by object: a role asks with one and the same thousands of times, and hashing it takes long.
    """
    known = _SET_FIELDS.get(id(sampling))
    if known is None or known[0] is not sampling:
        if len(_SET_FIELDS) >= _MOST_KEPT:
            _SET_FIELDS.clear()
        known = _SET_FIELDS[id(sampling)] = (sampling, tuple(sampling.as_dict()))
    return known[1]


_SET_FIELDS: dict[int, tuple[Sampling, tuple[str, ...]]] = {}
_MOST_KEPT = 256


def _at_least(low: float, value: float | None) -> bool:
    return value is None or value >= low


def _below(high: float, value: float | None) -> bool:
    return value is None or value < high


def _within(low: float, value: float | None, high: float) -> bool:
    return value is None or low < value <= high


THINKING = frozenset({"thinking", "max_thinking_tokens"})
"""The `Sampling` fields about thinking; an engine that honours them says so."""

DRAWING = frozenset(f.name for f in dataclasses.fields(Sampling)) - THINKING
"""The others."""
