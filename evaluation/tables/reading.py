"""What is read of one run of one row: figures, on what they were taken, and under which settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isclose
from typing import Any


@dataclass(frozen=True, slots=True)
class Reading:
    """The results of one run.

    Attributes:
        values: by metric, in the paper's unit.
        texts: by metric what a cell shows in place of the value.
        reasons: by metric why it has no value.
        undefined: by metric why it cannot have one here, whatever is run.
        conventions: by metric how it was counted.
        facts: the recorded settings, by name.
        measured: on what, in words.
        flags: what speaks against the figures, a sentence each.
        contexts: a digest of the places that were measured, equal for equal ones; None where they
            are not recorded.
        model: what was measured, as it was named.
    """

    values: Mapping[str, float | None] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    undefined: Mapping[str, str] = field(default_factory=dict)
    conventions: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    measured: str = ""
    flags: tuple[str, ...] = ()
    contexts: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Absent:
    """Nothing can be read, and why.

    Attributes:
        people: whether it is people who have to give it, and no command.
    """

    reason: str
    people: bool = False


def differences(
    expected: Mapping[str, Any], found: Mapping[str, Any], *, who: str = "the paper"
) -> list[str]:
    """Where recorded settings are not those expected, one sentence each.

    A list stands for any of its values. What is not recorded is said to be so: it is never taken
    for equal.
    """
    told = []
    for name, wanted in expected.items():
        shown = _shown(wanted)
        label = name.replace("_", " ")
        if name not in found:
            told.append(f"{label} not recorded ({who}: {shown})")
        elif not any(_same(found[name], each) for each in _either(wanted)):
            told.append(f"{label} {_shown(found[name])} ({who}: {shown})")
    return told


def _either(wanted: Any) -> list[Any]:
    return wanted if isinstance(wanted, list) else [wanted]


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, str) and wanted == "none":
        return found in (None, "none", "")
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    if isinstance(found, int | float) and isinstance(wanted, int | float):
        return isclose(found, wanted, rel_tol=1e-9)
    return bool(found == wanted)


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return " or ".join(map(_shown, value))
    if value is None:
        return "not set"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)
