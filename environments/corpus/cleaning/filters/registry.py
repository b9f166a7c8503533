"""The plug-in door for filters: ours by name, others by entry point or import string.

A package adds a filter in its `pyproject.toml`:

```toml
[project.entry-points."warmline.filters"]
no_shouting = "my_package.filters:NoShouting"
```

Without packaging, the import string itself is a name: `my_package.filters:NoShouting`. Options come
as keywords.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from .....core.errors import ConfigError, did_you_mean
from .base import Filter

GROUP = "warmline.filters"
FilterSpec = str | Mapping[str, Any]
"""A filter by name: `"length"`, `"length:min_utterances=6"`, `{"name": "length", ...}`."""

_HERE = __package__
DEFAULT_FILTERS: dict[str, str] = {
    "leaks": f"{_HERE}.leaks:LeakedInstructions",
    "sentence_cap": f"{_HERE}.length:SentenceCap",
    "closings": f"{_HERE}.closings:RedundantClosings",
    "broken": f"{_HERE}.broken:Broken",
    "length": f"{_HERE}.length:Length",
    "premature_closure": f"{_HERE}.closings:PrematureClosure",
    "role": f"{_HERE}.roles:RoleConsistency",
    "repetition": f"{_HERE}.repetition:Repetition",
    "persona": f"{_HERE}.persona:PersonaContradiction",
    "crisis": f"{_HERE}.crisis:CrisisContent",
    "near_duplicates": f"{_HERE}.duplicates:NearDuplicates",
}
"""The filters that run by default, in their order; those that trim come first."""


class FilterNotFound(ConfigError):
    """No filter goes by that name."""


@cache
def _doors() -> dict[str, EntryPoint]:
    ours = {
        name: EntryPoint(name=name, value=value, group=GROUP)
        for name, value in DEFAULT_FILTERS.items()
    }
    return {point.name: point for point in entry_points(group=GROUP)} | ours


def known_filters() -> list[str]:
    """Names of all filters that can be asked for, ours first."""
    return [*DEFAULT_FILTERS, *sorted(_doors().keys() - DEFAULT_FILTERS.keys())]


def parse_filter(spec: FilterSpec) -> tuple[str, dict[str, Any]]:
    """Name and options of a filter spec; values are read as TOML, else taken as text.

    Raises:
        ConfigError: a spec that cannot be read.
    """
    if isinstance(spec, Mapping):
        options = {str(key): value for key, value in spec.items()}
        name = options.pop("name", None)
        if not isinstance(name, str):
            raise ConfigError(f"a filter needs a name: {dict(spec)!r}", hint="name = 'length'")
        return name, options
    name, _, rest = spec.strip().partition(":")
    if name not in _doors() and rest:  # an import string: its first colon is part of the name
        attribute, _, rest = rest.partition(":")
        name = f"{name}:{attribute}"
    options = {}
    for pair in filter(None, rest.split(",")):
        key, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(
                f"'{pair}' in the filter spec {spec!r} is no key=value",
                hint="such as length:min_utterances=6,max_utterances=40",
            )
        try:
            options[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            options[key.strip()] = value
    return name, options


def make_filter(spec: FilterSpec) -> Filter:
    """Build a filter.

    Raises:
        FilterNotFound: no such name, module or attribute.
        ConfigError: options that it does not have.
        MissingExtra: its libraries are not installed.
    """
    name, options = parse_filter(spec)
    point = _doors().get(name)
    if point is None and ":" in name:
        point = EntryPoint(name=name, value=name, group=GROUP)
    if point is None:
        raise FilterNotFound(
            f"no filter named '{name}'; known: {', '.join(known_filters())}",
            hint=did_you_mean(name, known_filters())
            or "an import string such as 'my_package.filters:MyFilter' also works",
        )
    try:
        factory = point.load()
    except (ModuleNotFoundError, AttributeError) as error:
        raise FilterNotFound(
            f"filter '{name}' cannot be loaded from {point.value}: {error}",
            hint="run from the folder that holds the module, or install it",
        ) from error
    try:
        made: Filter = factory(**options)
    except TypeError as error:
        raise ConfigError(f"filter '{name}' cannot be set up: {error}") from error
    if not callable(getattr(made, "examine", None)) or not isinstance(
        getattr(made, "name", None), str
    ):
        raise ConfigError(
            f"'{name}' gives no filter", hint="a filter has a name and a method examine(episode)"
        )
    return made
