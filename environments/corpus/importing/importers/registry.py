"""Importers by name, by import string, or by looking at the first records; see `core/plugins.py`.

The entry-point group is `warmline.importers`. An importer is a function from one record to a
`Recorded` dialogue.
"""

from __future__ import annotations

import inspect
import traceback
from itertools import islice
from pathlib import Path
from typing import Any

from .....core.errors import ConfigError, DataError, WarmlineError
from .....core.plugins import Plugins
from .base import BrokenRecord, Importer, Recorded
from .records import iter_records

AUTO = "auto"
"""The format of a file is found by trying."""
SEEDS = "seeds"
"""In place of a format: the dialogues that ship, which need no file."""
PROBED_RECORDS = 3
"""First records that are read to find a file's format."""

OURS = (
    "esconv",
    "empathetic_dialogues",
    "smilechat",
    "extes",
    "augesc",
    "sdialog",
    "patienthub",
    "sharegpt",
    "messages",
)
"""The formats of Warmline, in the order in which they are listed and tried."""

WIDER = {"patienthub": "messages"}
"""A format, and one that reads its records too but less of them; where both fit, the first is meant."""


_AN_IMPORTER = (
    "an importer is a function from a record to Recorded that raises BrokenRecord for a record which"
    " is not in its format (docs/importing.md)"
)


class ImporterNotFound(ConfigError):
    """No importer has that name."""


IMPORTERS: Plugins[Recorded] = Plugins(
    "warmline.importers",
    "importer",
    not_found=ImporterNotFound,
    example="my_package.formats:my_format",
    first=OURS,
    reserved=(AUTO, SEEDS),
)


def known_importers() -> list[str]:
    """Names of all installed importers, those of Warmline first."""
    return IMPORTERS.known()


def find_importer(name: str) -> Importer:
    """The importer behind a name or an import string such as `my_package.formats:my_format`.

    Raises:
        ImporterNotFound: no such name, module or function, or one that cannot be an importer.
    """
    found = IMPORTERS.find(name)
    if inspect.isbuiltin(found):
        raise ImporterNotFound(
            f"'{name}' is no importer: it is a part of Python", hint=_AN_IMPORTER
        )
    try:
        signature = inspect.signature(found)
    except ValueError:  # compiled, without a signature
        return found
    try:
        signature.bind({})
    except TypeError as error:
        raise ImporterNotFound(
            f"'{name}' is no importer: it cannot be called with a record: {error}",
            hint=_AN_IMPORTER,
        ) from error
    return found


def recorded_by(importer: Importer, name: str, record: Any) -> Recorded:
    """What an importer makes of a record.

    Raises:
        BrokenRecord: the record is not in its format.
        ConfigError: the importer fails otherwise, or gives something else.
    """
    try:
        recorded: object = importer(record)
    except WarmlineError:
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        raise ConfigError(
            f"importer '{name}' fails with {type(error).__name__}: {error}"
            f" ({last.filename}, line {last.lineno})",
            hint=_AN_IMPORTER,
        ) from error
    if not isinstance(recorded, Recorded):
        raise ConfigError(
            f"importer '{name}' gave a {type(recorded).__name__}, no Recorded dialogue",
            hint=_AN_IMPORTER,
        )
    return recorded


def sniff(path: str | Path) -> str:
    """The name of the one importer that reads most of the first records of a file.

    Raises:
        DataError: none does, or several do equally; the message lists what each missed.
    """
    tried = list(islice(iter_records(path), PROBED_RECORDS))
    first = [found for found in tried if found.problem is None]
    if tried and not first:
        raise tried[0].error(tried[0].problem or "", hint="JSON lines or a JSON array is expected")
    readable: dict[str, int] = {}
    missed: list[str] = []
    for name in known_importers():
        problems = [p for p in (_problem(name, found.value) for found in first) if p is not None]
        readable[name] = len(first) - len(problems)
        missed += [f"{name}: {problem}" for problem in problems[:1]]
    highest = max(readable.values())
    fitting = [name for name, count in readable.items() if count == highest > 0]
    wider = {WIDER[name] for name in fitting if name in WIDER}
    fitting = [name for name in fitting if name not in wider]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise DataError(
            f"{' and '.join(fitting)} both fit the first records",
            file=path,
            hint="name the format: `warmline import FORMAT PATH`",
        )
    raise DataError(
        "\n".join(["no importer reads its first records:", *(f"  - {line}" for line in missed)]),
        file=path,
        hint="name the format, or write an importer for it (docs/importing.md)",
    )


def _problem(name: str, record: Any) -> str | None:
    """Why an importer does not read a record; None if it does."""
    try:
        recorded = recorded_by(find_importer(name), name, record)
    except BrokenRecord as error:
        return f"'{error.field}': {error.message}" if error.field else error.message
    return None if recorded.turns else "holds no turn"
