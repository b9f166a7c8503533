"""The door for importers, by name, by import string, or by looking at the first records.

Ours are listed here; a package adds its own in its `pyproject.toml`, and without packaging the
import string is a name:

```toml
[project.entry-points."warmline.importers"]
mine = "my_package.formats:my_format"
```
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from itertools import islice
from pathlib import Path
from typing import Any

from .....core.errors import ConfigError, DataError, did_you_mean
from . import formats
from .base import BrokenRecord, Importer
from .records import iter_records

GROUP = "warmline.importers"
AUTO = "auto"
"""The format of a file is found by trying."""
TRIED = 3
"""Records looked at to find a file's format."""

OURS: dict[str, Importer] = {
    "esconv": formats.esconv,
    "empathetic_dialogues": formats.empathetic_dialogues,
    "smilechat": formats.smilechat,
    "extes": formats.extes,
    "augesc": formats.augesc,
    "sharegpt": formats.sharegpt,
    "messages": formats.messages,
}


class ImporterNotFound(ConfigError):
    """No importer goes by that name."""


def known_importers() -> list[str]:
    """Names of all importers, ours first."""
    return [*OURS, *sorted(p.name for p in entry_points(group=GROUP) if p.name not in OURS)]


def find_importer(name: str) -> Importer:
    """The importer behind a name or an import string such as `my_package.formats:my_format`.

    Raises:
        ImporterNotFound: no such name, module or function.
    """
    if name in OURS:
        return OURS[name]
    if ":" in name:
        return _import(name)
    for point in entry_points(group=GROUP, name=name):
        loaded: Importer = point.load()
        return loaded
    raise ImporterNotFound(
        f"no importer named '{name}'; known: {AUTO}, {', '.join(known_importers())}",
        hint=did_you_mean(name, [AUTO, *known_importers()])
        or "an import string such as 'my_package.formats:my_format' also works",
    )


def _import(path: str) -> Importer:
    module_name, _, attribute = path.partition(":")
    try:
        module = import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise ImporterNotFound(
            f"importer '{path}': no module named '{error.name}'",
            hint="install it, or put the folder that holds it on PYTHONPATH",
        ) from error
    found: Any = getattr(module, attribute, None)
    if not callable(found):
        raise ImporterNotFound(
            f"importer '{path}': module '{module_name}' has no function '{attribute}'",
            hint=did_you_mean(attribute, vars(module)),
        )
    importer: Importer = found
    return importer


def sniff(path: str | Path) -> str:
    """The name of the one importer that reads most of the first records of a file.

    Raises:
        DataError: none does, or several do equally; what each missed is told.
    """
    tried = list(islice(iter_records(path), TRIED))
    first = [found for found in tried if found.problem is None]
    if tried and not first:
        raise tried[0].error(tried[0].problem or "", hint="JSON lines or a JSON array is expected")
    readable: dict[str, int] = {}
    missed: list[str] = []
    for name in known_importers():
        problems = [p for p in (_problem(name, found.value) for found in first) if p is not None]
        readable[name] = len(first) - len(problems)
        missed += [f"{name}: {problem}" for problem in problems[:1]]
    most = max(readable.values())
    fitting = [name for name, count in readable.items() if count == most > 0]
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
        recorded = find_importer(name)(record)
    except BrokenRecord as error:
        return f"'{error.field}': {error.message}" if error.field else error.message
    return None if recorded.turns else "holds no turn"
