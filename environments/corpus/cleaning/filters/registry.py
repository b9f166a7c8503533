"""Filters by name or import string (`core/plugins.py`); entry-point group `warmline.filters`."""

from __future__ import annotations

from typing import Any

from .....core.errors import ConfigError
from .....core.plugins import Plugins, Spec
from .base import Filter

DEFAULT_FILTERS = (
    "leaks",
    "sentence_cap",
    "closings",
    "broken",
    "length",
    "premature_closure",
    "role",
    "repetition",
    "persona",
    "crisis",
    "near_duplicates",
)
"""The filters that run by default, in their order; those that trim come first."""

FilterSpec = Spec
"""A filter by name: `"length"`, `"length:min_utterances=6"`, `{"name": "length", ...}`."""


class FilterNotFound(ConfigError):
    """No filter has that name."""


FILTERS: Plugins[Filter] = Plugins(
    "warmline.filters",
    "filter",
    not_found=FilterNotFound,
    example="my_package.filters:MyFilter",
    extra="data",
    first=DEFAULT_FILTERS,
)


def known_filters() -> list[str]:
    """Names of all installed filters, those of Warmline first."""
    return FILTERS.known()


def parse_filter(spec: FilterSpec) -> tuple[str, dict[str, Any]]:
    """Name and options of a filter spec; values are read as TOML, otherwise taken as text.

    Raises:
        ConfigError: a spec that cannot be read.
    """
    return FILTERS.parse(spec)


def make_filter(spec: FilterSpec) -> Filter:
    """Build a filter.

    Raises:
        FilterNotFound: no such name, module or attribute.
        ConfigError: options that it does not have.
        MissingExtra: its libraries are not installed.
    """
    made = FILTERS.make(spec)
    if not callable(getattr(made, "examine", None)) or not isinstance(
        getattr(made, "name", None), str
    ):
        name, _ = FILTERS.parse(spec)
        raise ConfigError(
            f"'{name}' does not give a filter",
            hint="a filter has a name and a method examine(episode)",
        )
    return made
