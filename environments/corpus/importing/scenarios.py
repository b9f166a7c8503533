"""Scenarios out of what other simulators write: dialogues with a profile, and profiles alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ....core.errors import ConfigError, RunError, did_you_mean
from ....core.files import write_whole
from ...scenarios.problem_types import problem_types
from ...scenarios.scenario import Profile, Scenario
from .importers.base import BrokenRecord
from .importers.records import FoundRecord, iter_records
from .importers.registry import find_importer
from .importers.tools import ABOUT_THE_SEEKER, in_words
from .normalise import one_line

OF_TOOLS = ("sdialog", "patienthub")
"""Formats that know who the seeker is to be."""


def scenarios_from(
    path: str | Path,
    format: str,  # noqa: A002 - the word for it
    *,
    problem_type: str,
) -> list[Scenario]:
    """One scenario a dialogue, session or character of the file; the rest of it is not read.

    Args:
        path: a file or folder, as for an import.
        format: `sdialog` or `patienthub`; records are dialogues, or personas and characters alone.
        problem_type: of all of them, since neither tool has the 45; one of `warmline types`.

    Raises:
        ConfigError: another format, or an unknown problem type.
        DataError: no record, or one that tells no situation; names file and record.
    """
    if format not in OF_TOOLS:
        raise ConfigError(
            f"no scenarios can be read from '{format}'", hint=f"known: {', '.join(OF_TOOLS)}"
        )
    if problem_type not in problem_types():
        raise ConfigError(
            f"unknown problem type '{problem_type}'",
            hint=did_you_mean(problem_type, problem_types()) or "`warmline types` lists all",
        )
    return [_scenario(found, format, problem_type) for found in iter_records(Path(path))]


def write_scenarios(path: str | Path, scenarios: list[Scenario]) -> None:
    """As JSON lines that `warmline simulate --scenarios` reads.

    Raises:
        RunError: something is there already, or the disk refuses.
    """
    path = Path(path)
    if path.exists():
        raise RunError(
            f"{path} is there already",
            hint="name a new file for the scenarios; nothing was written",
        )
    write_whole(path, "".join(s.model_dump_json(exclude_defaults=True) + "\n" for s in scenarios))


def _scenario(found: FoundRecord, format: str, problem_type: str) -> Scenario:  # noqa: A002
    if found.problem is not None:
        raise found.error(found.problem)
    try:
        situation, profile = _told(found.value, format)
    except BrokenRecord as broken:
        raise found.error(broken.message, field=broken.field) from None
    if not situation:
        raise found.error(
            "tells no situation",
            hint=f"a scenario needs one: `scenario`, `situation`, or {' or '.join(ABOUT_THE_SEEKER)}",
        )
    identity = f"{format}-{found.number}"
    return Scenario(
        id=identity,
        problem_type=problem_type,
        situation=one_line(situation),
        profile=Profile(text=about) if (about := one_line(profile)) else "",
        source=format,
    )


def _told(record: Any, format: str) -> tuple[str, str]:  # noqa: A002
    """Situation and profile of a dialogue, or of a character by itself."""
    if isinstance(record, Mapping) and not {"turns", "messages"} & record.keys():
        about = record.get("profile", record)
        if isinstance(about, Mapping):
            names = ("situation", *ABOUT_THE_SEEKER, "history")
            told = next((t for name in names if isinstance(t := about.get(name), str) and t), "")
            return told, in_words(about)
    recorded = find_importer(format)(record)
    return recorded.situation, recorded.profile
