"""The base record: frozen, closed, and with all that is wrong reported at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from .errors import ConfigError, did_you_mean
from .outside.secrets import HIDDEN, hide_secrets, is_secret_name, without_secrets

T = TypeVar("T")

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]

MAX_NESTING: Final = 100
"""Lists and objects within one another in data of a free form; more cannot always be written again."""


def refuse_unwritable(value: Any) -> Any:
    """Plain data, unless it cannot be written as JSON and read again.

    Raises:
        ValueError: lists and objects stand in it more than `MAX_NESTING` deep, or a number is
            infinite or none.
    """
    level, depth = [value], 0
    while level:
        if any(isinstance(item, float) and not isfinite(item) for item in level):
            raise ValueError("holds a number that is infinite or none")
        level = [item for item in level if isinstance(item, dict | list | tuple)]
        depth += bool(level)
        if depth > MAX_NESTING:
            raise ValueError(f"nested more than {MAX_NESTING} levels deep")
        level = [
            inner for item in level for inner in (item.values() if isinstance(item, dict) else item)
        ]
    return value


PlainData = Annotated[dict[str, Any], AfterValidator(refuse_unwritable)]
"""Data of a free form in a record, which can be written as JSON and read again."""


if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass as _ModelMetaclass
    from pydantic_core import ErrorDetails
else:
    _ModelMetaclass = type(BaseModel)


class _HelpfulErrors(_ModelMetaclass):
    """Makes `Record(...)` in Python raise our error; validation of nested data is untouched."""

    def __call__(cls, *args: Any, **data: Any) -> Any:  # noqa: N805 - it is a class
        try:
            return super().__call__(*args, **data)
        except ValidationError as error:
            raise ConfigError(
                f"{cls.__name__}: not usable as given",
                problems=problems_of(error, cls),  # type: ignore[arg-type]
            ) from None


class Record(BaseModel, metaclass=_HelpfulErrors):
    """A frozen, closed record: unknown fields are refused, values cannot be changed.

    Raises:
        ConfigError: when made with unknown or impossible fields; all problems at once.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def refuse_idle(self, given: Mapping[str, Any]) -> None:
        """Refuse what a caller has given and nothing would read; a settings file may hold more.

        Args:
            given: the command line's values or keywords, without those of a file.

        Raises:
            ConfigError: there is such a value. This record takes all.
        """


def problems_of(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One line a problem; an unknown field comes with the closest known one."""
    lines = []
    for problem in error.errors(include_url=False):
        place = ".".join(str(part) for part in problem["loc"]) or "value"
        if problem["type"] == "extra_forbidden":
            hint = did_you_mean(str(problem["loc"][-1]), _fields_at(model, problem["loc"][:-1]))
            lines.append(f"unknown field '{place}'" + (f"; {hint}" if hint else ""))
        else:
            own = problem["type"] == "value_error"  # of our own check; it says what it is about
            given = "" if own or problem["type"] == "missing" else _given(problem)
            words = str(problem["ctx"]["error"]) if own else problem["msg"].lower()
            lines.append(words if own and not problem["loc"] else f"{place}: {words}{given}")
    return lines


def _given(problem: ErrorDetails) -> str:
    """What was given, hidden where it stands under the name of a secret."""
    if any(is_secret_name(str(part)) for part in problem["loc"]):
        return f" (given: {HIDDEN})"
    return f" (given: {hide_secrets(repr(without_secrets(problem['input']))):.60})"


def _fields_at(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    for part in path:
        field = model.model_fields.get(str(part))
        nested = field.annotation if field else None
        if not (isinstance(nested, type) and issubclass(nested, BaseModel)):
            break
        model = nested
    return list(model.model_fields)


def quick(cls: type[T]) -> type[T]:
    """Replace the `__init__` of a frozen dataclass with slots by one that does the same, sooner.

    Used as a decorator above `@dataclass(frozen=True, slots=True)` on small records that are made
    several times a turn. The usual `__init__` sets each field through `object.__setattr__`, which
    looks it up by its name; with slots, each field has a setter that can be called at once.

    Raises:
        TypeError: a field has a default factory, or something follows upon `__init__`.
    """
    fields = [field for field in dataclasses.fields(cls) if field.init]  # type: ignore[arg-type]
    others = [field for field in dataclasses.fields(cls) if not field.init]  # type: ignore[arg-type]
    made = (field.default_factory is not dataclasses.MISSING for field in (*fields, *others))
    if any(made) or hasattr(cls, "__post_init__"):
        raise TypeError(f"{cls.__name__} does more in its __init__ than set its fields")
    names: dict[str, Any] = {}
    for field in (*fields, *others):
        names[f"set_{field.name}"] = cls.__dict__[field.name].__set__
        names[f"default_{field.name}"] = field.default
    lines = [f"set_{field.name}(self, {field.name})" for field in fields]
    lines += [f"set_{field.name}(self, default_{field.name})" for field in others]
    exec(  # noqa: S102 - names of fields alone, as dataclasses does it
        f"def __init__(self, {', '.join(field.name for field in fields)}):\n " + "\n ".join(lines),
        names,
    )
    init, before = names["__init__"], cls.__dict__["__init__"]
    for name in ("__defaults__", "__kwdefaults__", "__annotations__", "__qualname__", "__module__"):
        setattr(init, name, getattr(before, name))
    setattr(cls, "__init__", init)  # noqa: B010 - mypy takes no other
    return cls
