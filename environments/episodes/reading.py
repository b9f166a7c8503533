"""One line of a log into an episode, with an error that names file, line and field."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from ...core.errors import ConfigError, DataError
from ...core.jsonl import parse_json
from ...core.record import problems_of
from .episode import EPISODE_VERSION, Episode

_BEGIN = f'{{"version":{EPISODE_VERSION},'
"""How records that we wrote begin; they are validated while they are parsed, in half the time."""


def parse_episode(line: str, file: Path, number: int) -> Episode:
    """The episode on a line of a log.

    Raises:
        DataError: it is none; names file, line and field.
    """
    if line.startswith(_BEGIN):
        try:
            return Episode.model_validate_json(line)
        except (ConfigError, ValidationError):
            pass  # below, what is wrong is found and named; deeper nesting is read too
    try:
        data = parse_json(line)
    except ValueError as error:
        raise DataError(f"not JSON: {error}", file=file, line=number) from None
    version = data.get("version") if isinstance(data, dict) else None
    if version is None:
        raise DataError(
            "not an episode record: it has no version",
            file=file,
            line=number,
            field="version",
            hint="`warmline import` makes episodes of recorded dialogues in other forms",
        )
    if version != EPISODE_VERSION:
        raise DataError(
            f"episode version {version!r}; this Warmline reads version {EPISODE_VERSION}",
            file=file,
            line=number,
            field="version",
            hint="a newer Warmline wrote this log; update Warmline to read it",
        )
    try:
        return Episode.model_validate(data)
    except ConfigError as error:  # of a part that checks itself, such as the sampling settings
        raise DataError(error.message, file=file, line=number) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise DataError(
            "; ".join(problems_of(error, Episode)[:3]),
            file=file,
            line=number,
            field=".".join(map(str, first["loc"])),
        ) from None
