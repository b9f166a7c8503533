"""Plug-ins by name: one mechanism for policies, wrappers, metrics, filters and importers.

A name is looked up among the installed entry points of a group; the ones that Warmline brings are
entry points too. A package adds one in its `pyproject.toml`:

```toml
[project.entry-points."warmline.policies"]
mine = "my_package.policies:MyPolicy"
```

Without packaging, the import string itself is a name: `my_package.policies:MyPolicy`. One that an
earlier version of Warmline had for a plug-in of its own finds it where it is now. Where several
packages use one name, Warmline's own plug-in is taken; two other packages with the same name are an
error that names both.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any, Generic, TypeVar

from .errors import ConfigError, MissingExtra, did_you_mean
from .files import parse_toml

T = TypeVar("T")

Spec = str | Mapping[str, Any]
"""A plug-in with options: `"name"`, `"name:key=value,key=value"` or `{"name": "name", ...}`."""

_SPEC = re.compile(r"([^:=]+)(?::([A-Za-z_][\w.]*))?(?::(.*))?", re.DOTALL)
_IMPORT = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*:[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_OPTION = re.compile(r"\s*([A-Za-z_]\w*)\s*=(.*)", re.DOTALL)
_OWN = __name__.partition(".")[0]


@lru_cache(maxsize=64)
def _installed(group: str, path: tuple[str, ...]) -> dict[str, list[EntryPoint]]:
    """The entry points of a group by name, with distinct targets, for one value of `sys.path`."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=group):
        same_name = found.setdefault(point.name, [])
        if all(point.value != other.value for other in same_name):
            same_name.append(point)
    return found


class Plugins(Generic[T]):
    """The plug-ins of one group. `T` is what a plug-in gives when it is called.

    Args:
        group: of the entry points.
        noun: what messages call a plug-in: `policy`.
        not_found: the error for a name that does not exist.
        example: an import string, for hints.
        extra: the extra of Warmline that brings the libraries of its own plug-ins.
        first: names that come first in `known()`, in this order; the others follow alphabetically.
        reserved: words accepted in place of a name, listed with the names in messages.
        method: that everything made by these plug-ins must have.
    """

    def __init__(
        self,
        group: str,
        noun: str,
        *,
        example: str,
        not_found: type[ConfigError] = ConfigError,
        extra: str | None = None,
        first: Sequence[str] = (),
        reserved: Sequence[str] = (),
        method: str | None = None,
    ) -> None:
        self.group, self.noun, self._method = group, noun, method
        self._not_found, self._example, self._extra = not_found, example, extra
        self._first, self._reserved = tuple(first), tuple(reserved)

    def known(self) -> list[str]:
        """Names of all installed plug-ins."""
        names = self._points().keys()
        return [*(name for name in self._first if name in names), *sorted(names - {*self._first})]

    def find(self, name: str) -> Callable[..., T]:
        """The class or function behind a name or an import string.

        Raises:
            ConfigError: (the class `not_found`) no such name, module or attribute; or two packages
                bring the name.
            MissingExtra: libraries of a plug-in of Warmline are not installed. Those that the
                module behind an import string lacks are an ordinary `ModuleNotFoundError`.
        """
        if points := self._points().get(name):
            return self._load(self._one(name, points))
        if ":" in name:
            if not is_import_string(name):
                raise self._not_found(
                    f"{self.noun} {name!r} is not an import string",
                    hint=f"module:Name, such as '{self._example}'; not a path, and no blanks",
                )
            return self._import(name, self._moved(name) or name)
        known = [*self._reserved, *self.known()]
        raise self._not_found(
            f"no {self.noun} named '{name}'; known: {', '.join(known) or 'none installed'}",
            hint=did_you_mean(name, known)
            or f"an import string such as '{self._example}' also works",
        )

    def parse(self, spec: Spec) -> tuple[str, dict[str, Any]]:
        """Name and options of a spec. The name is not looked up.

        In a text, each value is read as TOML (numbers, booleans, lists, tables, quoted text) and
        otherwise taken as text. Commas inside lists, tables and quotes do not separate options. The
        name may be an import string: `my_package.module:Name:key=value`.

        Raises:
            ConfigError: a spec that cannot be read.
        """
        if isinstance(spec, Mapping):
            options = {str(key): value for key, value in spec.items()}
            name = options.pop("name", None)
            if not isinstance(name, str):
                raise ConfigError(
                    f"a {self.noun} needs a name: {dict(spec)!r}",
                    hint=f"such as {{name = '{self._sample()}'}}",
                )
            return name, options
        if (found := _SPEC.fullmatch(spec.strip())) is None:
            raise ConfigError(
                f"not a {self.noun} spec: {spec!r}",
                hint=f"such as 'name', 'name:key=value' or '{self._example}'",
            )
        name, attribute, rest = found.groups()
        if attribute and name in self._points():  # "cache:path": the value was forgotten
            attribute, rest = None, spec.strip()[len(name) + 1 :]
        name = f"{name}:{attribute}" if attribute else name
        return name, self._read_options(rest or "", spec)

    def make(self, spec: Spec, /, *inner: Any, **options: Any) -> T:
        """Call the plug-in that a spec names.

        Args:
            spec: name and options.
            inner: positional arguments, which a spec cannot give (what a wrapper wraps).
            options: further options; they override those in the spec.

        Raises:
            ConfigError: no such plug-in; options that it does not have, or missing ones, all
                problems at once; values that it cannot use; something else than a plug-in.
        """
        name, given = self.parse(spec)
        return self.build(name, {**given, **options}, *inner)

    def build(self, name: str, options: Mapping[str, Any], *inner: Any) -> T:
        """As `make`, for a name and options that are already apart."""
        factory = self.find(name)
        self._check(name, factory, options, len(inner))
        try:
            made = factory(*inner, **options)
        except TypeError as error:
            raise ConfigError(f"{self.noun} '{name}' cannot be set up: {error}") from error
        if self._method and not callable(getattr(made, self._method, None)):
            raise ConfigError(
                f"'{name}' is no {self.noun}: it gives {type(made).__name__}, which has no method"
                f" '{self._method}'",
                hint=f"name a class with it, such as '{self._example}'",
            )
        return made

    def _points(self) -> dict[str, list[EntryPoint]]:
        return _installed(self.group, tuple(map(str, sys.path)))

    def _moved(self, name: str) -> str | None:
        """Where a plug-in of Warmline lives now, for the import string of an earlier version."""
        module, _, attribute = name.partition(":")
        if not module.startswith(f"{_OWN}."):
            return None
        try:
            if find_spec(module) and hasattr(importlib.import_module(module), attribute):
                return None
        except ModuleNotFoundError as error:
            if not _is_inside(module, error.name):
                return None
        targets = [p.value for points in self._points().values() for p in points if _is_own(p)]
        return next((each for each in targets if each.partition(":")[2] == attribute), None)

    def _sample(self) -> str:
        return next(iter(self.known()), "my_plugin")

    def _one(self, name: str, points: list[EntryPoint]) -> EntryPoint:
        own = [point for point in points if _is_own(point)]
        if len(own or points) == 1:
            return (own or points)[0]
        packages = " and ".join(f"'{_package(point)}' ({point.value})" for point in points)
        raise ConfigError(
            f"{self.noun} '{name}' is brought by several packages: {packages}",
            hint="name the one you mean by its import string, as shown in brackets",
        )

    def _load(self, point: EntryPoint) -> Callable[..., T]:
        try:
            return self._import(point.name, point.value.partition("[")[0].strip())
        except ModuleNotFoundError as error:
            if not _is_own(point):
                raise ConfigError(
                    f"{self.noun} '{point.name}' of the package '{_package(point)}' needs"
                    f" '{error.name}', which is not installed",
                    hint="install it; the package's documentation may name an extra",
                ) from error
            if self._extra is None:
                raise
            raise MissingExtra(f"the {self.noun} '{point.name}'", extra=self._extra) from error

    def _import(self, name: str, path: str) -> Callable[..., T]:
        """The object at an import string; a library that its module lacks is not our error."""
        module_name, _, attribute = path.partition(":")
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if not _is_inside(module_name, error.name):
                raise
            raise self._not_found(
                f"{self.noun} '{name}': no module named '{error.name}'",
                hint="give the command in the folder that holds the module, or install it",
            ) from error
        found: Any = module
        for part in attribute.split("."):
            found = getattr(found, part, None)
        if not callable(found):
            public = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
            raise self._not_found(
                f"{self.noun} '{name}': module '{module_name}' has no class or function"
                f" '{attribute}'",
                hint=did_you_mean(attribute, public),
            )
        factory: Callable[..., T] = found
        return factory

    def _read_options(self, text: str, spec: str) -> dict[str, Any]:
        options: dict[str, Any] = {}
        pieces = text.split(",")
        while pieces:
            piece = pieces.pop(0)
            if not piece.strip():
                continue
            if (found := _OPTION.fullmatch(piece)) is None:
                raise ConfigError(
                    f"'{piece.strip()}' in the {self.noun} spec {spec!r} is not key=value",
                    hint=f"an import string is '{self._example}', without blanks; put quotation"
                    " marks around a text that holds commas",
                )
            key, value = found.group(1), found.group(2).strip()
            options[key], used = _read_value(value, pieces)
            del pieces[:used]
        return options

    def _check(
        self, name: str, factory: Callable[..., T], options: Mapping[str, Any], inner: int
    ) -> None:
        """Report every option that is unknown or missing, at once."""
        try:
            parameters = dict(inspect.signature(factory).parameters)
        except (TypeError, ValueError):  # written in C, without a signature
            return
        for taken in list(parameters)[:inner]:
            del parameters[taken]
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        variable = {p.name for p in parameters.values() if p.kind in _VARIABLE}
        named = [parameter for parameter in parameters if parameter not in variable]
        problems = []
        for option in options:
            if option not in named and not takes_any:
                hint = did_you_mean(option, named)
                problems.append(f"unknown option '{option}'" + (f"; {hint}" if hint else ""))
        problems += [
            f"missing option '{option}'"
            for option in named
            if parameters[option].default is inspect.Parameter.empty and option not in options
        ]
        if problems:
            raise ConfigError(
                f"{self.noun} '{name}' cannot be set up", problems=problems,
                hint=f"its options are: {', '.join(named) or 'none'}",
            )  # fmt: skip


_VARIABLE = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


def is_import_string(text: str) -> bool:
    """Whether a text has the form `module:Name`, both with dots or without."""
    return _IMPORT.fullmatch(text) is not None


def _is_own(point: EntryPoint) -> bool:
    return point.value.startswith(f"{_OWN}.")


def _is_inside(module: str, missing: str | None) -> bool:
    """Whether what is missing is the module itself or a package that it is in."""
    return missing is not None and f"{module}.".startswith(f"{missing}.")


def _package(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "?"


def _read_value(value: str, following: list[str]) -> tuple[Any, int]:
    """A value and how many of the pieces that follow belong to it (it holds their commas)."""
    opens = value[:1] in ('"', "'", "[", "{")
    for used in range(len(following) + 1 if opens else 1):
        whole = ",".join([value, *following[:used]])
        try:
            return parse_toml(f"value = {whole}")["value"], used
        except ValueError:
            continue
    return value, 0
