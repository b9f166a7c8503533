"""The settings of a cleaning: which filters, with which options, and whether a judge is asked."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any

from pydantic import Field

from ....core.errors import ConfigError, did_you_mean
from ....core.record import Record
from ...runs.settings import EngineSettings
from .filters.base import Filter
from .filters.registry import DEFAULT_FILTERS, make_filter, parse_filter

CLEANING_VERSION = 3
"""Counted up when a filter finds other things in the same episode, so that tags are made anew."""


class CleanSettings(Record):
    """Settings of one cleaning. The defaults are the papers' where they give one."""

    filters: tuple[str | dict[str, Any], ...] = Field(
        (),
        description="filters besides the default ones, or other options for those, as NAME:key=value"
        " or an import string",
    )
    skip: tuple[str, ...] = Field((), description="default filters left out")
    judge: EngineSettings = Field(
        default_factory=EngineSettings, description="policy that also judges the roles; off"
    )
    concurrency: Annotated[int, Field(ge=1)] = Field(
        8, description="questions to the judge at the same time"
    )
    seed: int = Field(0, description="seed of the judge's questions")

    def chosen(self) -> dict[str, dict[str, Any]]:
        """Options by filter, in the order in which they run.

        Raises:
            ConfigError: a name to skip that is not a filter, or a spec that cannot be read.
        """
        chosen: dict[str, dict[str, Any]] = {name: {} for name in DEFAULT_FILTERS}
        for spec in self.filters:
            name, options = parse_filter(spec)
            chosen[name] = options
        if unknown := [name for name in self.skip if name not in chosen]:
            raise ConfigError(
                f"cannot skip {', '.join(unknown)}; the filters are {', '.join(chosen)}",
                hint=did_you_mean(unknown[0], chosen),
            )
        return {name: options for name, options in chosen.items() if name not in self.skip}

    def make(self) -> list[Filter]:
        """The filters; see `make_filter` for what can go wrong."""
        return [make_filter({"name": name, **options}) for name, options in self.chosen().items()]

    def digest(self, judge: dict[str, Any] | None = None) -> str:
        """Digest of what decides the findings, 16 hexadecimal digits.

        Args:
            judge: the identity of the judge, where one is asked.
        """
        identity = {"version": CLEANING_VERSION, "filters": list(self.chosen().items())}
        if judge is not None:
            identity |= {"judge": judge, "sampling": self.judge.sampling().as_dict()}
            identity["seed"] = self.seed
        text = json.dumps(identity, sort_keys=True, default=str)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
