"""Settings from a TOML file with command-line values or keywords on top."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import AliasChoices, ValidationError

from .errors import ConfigError, DataError
from .files import read_toml
from .record import Record, problems_of

R = TypeVar("R", bound=Record)

LIMIT: Final = AliasChoices("limit", "contexts")
"""Of a field `limit`: settings that earlier versions stored call it `contexts`."""


def read_settings(
    model: type[R],
    file: str | Path | Mapping[str, Any] | None = None,
    given: Mapping[str, Any] | None = None,
) -> R:
    """Settings from a TOML file, with `given` on top.

    A run's own `config.toml` is such a file; its `[identity]` is left aside.

    Args:
        model: the closed record that says which settings there are.
        file: TOML; or its table, where another file holds it.
        given: keywords or command-line values; nested tables as nested mappings.

    Raises:
        DataError: no such file, or not TOML (with its line).
        ConfigError: unknown keys (with suggestions) and impossible values, all at once; or what is
            given would change nothing.
    """
    data: Mapping[str, Any] = {}
    if isinstance(file, Mapping):
        data, file = file, None
    elif file is not None:
        path = Path(file)
        if not path.is_file():
            raise DataError("no such file", file=path, hint="give the path of a TOML file")
        data = {name: value for name, value in read_toml(path).items() if name != "identity"}
    merged = _merge(data, given or {})
    try:
        made = model.model_validate(merged)
    except ValidationError as error:
        ours = {str(entry["loc"][0]) if entry["loc"] else "" for entry in error.errors()}
        typed = file is not None and not any(name in data or not name for name in ours)
        where = f" in {file}" if file is not None and not typed else ""
        raise ConfigError(
            f"settings{where} cannot be used", problems=problems_of(error, model)
        ) from None
    made.refuse_idle(given or {})
    return made


def expect_settings(settings: object, model: type[Record], function: str) -> None:
    """Refuse, at the start of a function of settings, what is not its record.

    Raises:
        ConfigError: settings of another function, a mapping, or nothing.
    """
    if not isinstance(settings, model):
        raise ConfigError(
            f"{function} takes {model.__name__}, not {type(settings).__name__}",
            hint=f"{function}({model.__name__}(...)) has the settings as keywords",
        )


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged
