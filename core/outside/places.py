"""Where something lies: a path here, or the URL of a store."""

from __future__ import annotations

import re
from pathlib import Path

_URL = re.compile(r"([a-z][a-z0-9+.-]+):/{1,3}([^/].*)")
ROOTED = frozenset({"file", "local", "memory"})
"""Protocols whose paths begin with a slash."""


def is_url(place: str | Path) -> bool:
    """Whether a place is one in a store; a `Path` of a URL, which has one slash less, is too."""
    return _URL.fullmatch(str(place)) is not None


def url_of(place: str | Path) -> str:
    """A place in a store as its URL, without a slash in the end."""
    found = _URL.fullmatch(str(place))
    assert found is not None
    slash = "/" if found[1] in ROOTED else ""
    return f"{found[1]}://{slash}{found[2]}".rstrip("/")
