"""Settings as command-line options, so that file, keywords and command line cannot drift apart.

A command's options are made from the fields of its settings model; what was given on the command
line is laid over a file's settings by `read_settings`.
"""

from __future__ import annotations

import inspect
from collections.abc import Set
from typing import Annotated, Any, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from .errors import ConfigError
from .files import parse_toml


def nested(given: dict[str, Any]) -> dict[str, Any]:
    """Command-line values as settings: unset ones left out, `role__field` nested, options parsed."""
    settings: dict[str, Any] = {}
    for name, value in given.items():
        if value is None or value == []:
            continue
        role, _, field = name.rpartition("__")
        target = settings.setdefault(role, {}) if role else settings
        target[field] = _key_values(value, name) if field == "options" else value
    return settings


def _key_values(pairs: list[str], name: str) -> dict[str, Any]:
    """`key=value` pairs; values as TOML where they are TOML (3, true, [1, 2]), else text."""
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise ConfigError(
                f"--{name.replace('__', '.')}: '{pair}' is not key=value", hint="e.g. slots=8"
            )
        try:
            options[key] = parse_toml(f"value = {value}")["value"]
        except ValueError:
            options[key] = value
    return options


def options_of(
    model: type[BaseModel],
    prefix: str = "",
    *,
    hidden: Set[tuple[str, str]] = frozenset(),
    panel: str = "Run",
) -> list[inspect.Parameter]:
    """One command-line option for each field of a settings model; None means not given.

    Args:
        model: its fields become options; nested models become `--name.field`.
        prefix: of the option names.
        hidden: (prefix, field) of those left out; tables are left out by themselves.
        panel: heading in the help for the options without a prefix.
    """
    parameters = []
    for name, field in model.model_fields.items():
        kinds = [k for k in get_args(field.annotation) if k is not type(None)]
        kind = field.annotation if not kinds else kinds[0]
        while get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            seat = f"The {name}'s seat" if "policy" in kind.model_fields else name.capitalize()
            parameters += options_of(kind, f"{name}.", hidden=hidden, panel=seat)
            continue
        table = get_origin(kind) is dict and name != "options"
        if table or (prefix, name) in hidden:
            continue
        option, flag = _option(prefix, name, field, kind, panel)
        parameters.append(
            inspect.Parameter(
                f"{prefix.replace('.', '__')}{name}",
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[option, flag],
            )
        )
    return parameters


def _option(prefix: str, name: str, field: FieldInfo, kind: Any, panel: str) -> tuple[Any, Any]:
    flag = f"{prefix}{name}".replace("_", "-")
    help_text = field.description or ""
    if field.default not in (None, (), PydanticUndefined) and kind is not bool:
        help_text += f" (default {field.default})"
    many = name == "options" or tuple in (get_origin(field.annotation), get_origin(kind))
    types = {int: int | None, float: float | None, bool: bool | None}
    names = [f"--{flag}/--no-{flag}"] if kind is bool else [f"--{flag}"]
    return (
        (list[str] | None) if many else types.get(kind, str | None),
        typer.Option(
            *names,
            help=help_text,
            show_default=False,
            rich_help_panel=panel,
        ),
    )
