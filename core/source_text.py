"""The source text of a user's class, as part of an identity: changed words do not resume silently."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

SOURCE_KEY = "source_hash"
"""Key of a policy's source in its description."""

AGENT_SOURCE_KEY = "agent_source_hash"
"""Key of an agent's source, which stands beside its policy's."""


def own_source(thing: object) -> str | None:
    """The hash of the source text of an object's class, where it is a user's and undescribed.

    The text is that of the class and of its bases in the same package: functions that they call
    elsewhere do not count.

    Returns:
        16 hexadecimal digits; None for a class of Warmline, for one with a `describe` of its own, and
        where Python cannot find the text (a class typed into a prompt, or compiled).
    """
    if "describe" in getattr(thing, "__dict__", {}):
        return None
    made = type(thing)
    describing = next((c for c in made.__mro__ if "describe" in vars(c)), None)
    if _is_ours(made) or (describing is not None and not _is_ours(describing)):
        return None
    return _source_hash(made)  # type: ignore[arg-type]  # classes are hashable


def without_sources(described: Any) -> Any:
    """A description as earlier versions wrote it, for keys of stores that they began."""
    if isinstance(described, Mapping):
        hashes = (SOURCE_KEY, AGENT_SOURCE_KEY)
        return {k: without_sources(v) for k, v in described.items() if k not in hashes}
    return [without_sources(v) for v in described] if isinstance(described, list) else described


def _is_ours(made: type) -> bool:
    return _package(made) == (__package__ or "").partition(".")[0]


def _package(made: type) -> str:
    return made.__module__.partition(".")[0]


@lru_cache(maxsize=256)
def _source_hash(made: type) -> str | None:
    texts = []
    for part in made.__mro__:
        if _package(part) == _package(made):
            try:
                texts.append(inspect.getsource(part))
            except (OSError, TypeError):
                return None
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
