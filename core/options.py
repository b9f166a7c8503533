"""Settings as command-line options, so that file, keywords and command line cannot drift apart.

A command's options are made from the fields of its settings model; what was given on the command
line overrides a file's settings in `read_settings`. `--help` shows them in panels: a settings class
names its panel in the class variable `panel`, and a field is shown in that of the class that declares
it first; those of a class with `shown_last` stand behind all others.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from .errors import ConfigError
from .files import parse_toml
from .fixed import fixed_fields
from .outside.commands import UsageError


def config_parameter() -> inspect.Parameter:
    """`--config FILE`: the one way in which a command takes settings from a file."""
    option = typer.Option("--config", help="TOML file of settings; options override it.")
    return _parameter("config", Path | None, option)


AGAIN = "again_"
"""Begins the name of the parameter of a bare field's option."""


def nested(given: dict[str, Any]) -> dict[str, Any]:
    """Command-line values as settings: unset ones left out, `role__field` nested, options parsed."""
    settings: dict[str, Any] = {}
    for name, value in given.items():
        if value is None or value == [] or value == ():
            continue
        if name.startswith(AGAIN):
            field = name.removeprefix(AGAIN)
            settings[field] = [*settings.get(field, ()), *value]
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


def read_options(words: Sequence[str], parameters: Iterable[inspect.Parameter]) -> dict[str, Any]:
    """The values of a command line's options, read by the command line's own parser.

    Args:
        words: the words behind the command, such as `["--limit", "20"]`.
        parameters: the command's parameters, as `options_of` makes them.

    Raises:
        ConfigError: an unknown option, or a value of the wrong type.
    """

    def command(**given: Any) -> None:
        raise NotImplementedError

    command.__signature__ = inspect.Signature(list(parameters))  # type: ignore[attr-defined]
    app = typer.Typer(add_completion=False)
    app.command(add_help_option=False)(command)
    try:
        context = typer.main.get_command(app).make_context("options", list(words))
    except UsageError as error:
        raise ConfigError(error.format_message()) from None
    return {k: list(v) if isinstance(v, tuple) else v for k, v in context.params.items()}


def option_words(settings: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Settings as the words of a command line, which `read_options` reads back.

    A table among the items of a list is written as JSON, which is for readers alone.
    """
    for name, value in settings.items():
        flag = f"--{prefix}{name}".replace("_", "-")
        if isinstance(value, bool):
            yield flag if value else f"--no-{flag.removeprefix('--')}"
        elif name == "options":
            for key, option in value.items():
                text = option if isinstance(option, str) else json.dumps(option)
                yield from (flag, f"{key}={text}")
        elif isinstance(value, Mapping):
            yield from option_words(value, f"{prefix}{name}.")
        elif value is not None:
            for each in value if isinstance(value, list | tuple) else (value,):
                yield from (flag, json.dumps(each) if isinstance(each, Mapping) else str(each))


def options_of(
    model: type[BaseModel],
    prefix: str = "",
    *,
    hidden: Set[tuple[str, str]] = frozenset(),
    panel: str = "Run",
    bare: str | None = None,
) -> list[inspect.Parameter]:
    """One command-line option for each field of a settings model; None means not given.

    Args:
        model: its fields become options; nested models become `--name.field`, in a panel of their
            own that the field's title names. Fixed fields become hidden options, so that a command
            that states one is understood.
        prefix: of the option names.
        hidden: (prefix, field) of those left out; tables are left out automatically.
        bare: the field whose values stand without an option, as what a command works on does; its
            option stays accepted, and is not shown.
        panel: heading in the help of options without a prefix whose class names no panel, and of all
            options with a prefix.
    """
    parameters = []
    last = {name: _declared(model, name, "shown_last", False) for name in model.model_fields}
    for name, field in sorted(model.model_fields.items(), key=lambda item: last[item[0]]):
        kinds = [k for k in get_args(field.annotation) if k is not type(None)]
        kind = field.annotation if not kinds else kinds[0]
        while get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            seat = f"The {name}'s seat" if "policy" in kind.model_fields else name.capitalize()
            seat = field.title or seat
            parameters += options_of(kind, f"{name}.", hidden=hidden, panel=seat)
            continue
        table = dict in (get_origin(kind), get_origin(field.annotation)) and name != "options"
        if table or (prefix, name) in hidden:
            continue
        if name == bare and not prefix:
            parameters = [*_bare(name, field), *parameters]
            continue
        shown_in = panel if prefix else panel_of(model, name, panel)
        option, flag = _option(prefix, name, field, kind, shown_in)
        parameters.append(_parameter(f"{prefix.replace('.', '__')}{name}", option, flag))
    if not prefix:
        parameters += [
            _fixed_option(name, value) for name, (value, _) in fixed_fields(model).items()
        ]
    return parameters


def panel_of(model: type[BaseModel], field: str, default: str) -> str:
    """The panel of the class that declares a field first; `default` where that class names none."""
    panel: str = _declared(model, field, "panel", default)
    return panel


def _declared(model: type[BaseModel], field: str, name: str, default: Any) -> Any:
    """A class variable of the class that declares a field first."""
    for part in reversed(model.__mro__):
        if field in vars(part).get("__annotations__", {}):
            return vars(part).get(name, default)
    return default


def _fixed_option(name: str, value: Any) -> inspect.Parameter:
    """A hidden option for a fixed field; the record refuses other values, with the reason."""
    flag = name.replace("_", "-")
    names = [f"--{flag}/--no-{flag}"] if isinstance(value, bool) else [f"--{flag}"]
    kind: Any = list[str] if isinstance(value, tuple) else type(value)
    return _parameter(name, kind | None, typer.Option(*names, hidden=True))


def _bare(name: str, field: FieldInfo) -> list[inspect.Parameter]:
    words = typer.Argument(help=field.description, show_default=False)
    again = typer.Option(f"--{name.replace('_', '-')}", hidden=True)
    several = list[str] | None
    return [_parameter(name, several, words), _parameter(f"{AGAIN}{name}", several, again)]


def _parameter(name: str, kind: Any, how: Any) -> inspect.Parameter:
    """A parameter that is None where nothing is given."""
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, how]
    )


def _option(prefix: str, name: str, field: FieldInfo, kind: Any, panel: str) -> tuple[Any, Any]:
    flag = f"{prefix}{name}".replace("_", "-")
    help_text = field.description or ""
    if field.default not in (None, (), "", PydanticUndefined) and kind is not bool:
        shown = (
            ", ".join(map(str, field.default))
            if isinstance(field.default, tuple)
            else field.default
        )
        help_text += f" (default {shown})"
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
