"""Where the data for local tests lies; it is never part of the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FOLDER = Path(os.environ.get("WARMLINE_DATA") or Path(__file__).parents[2] / "../shared/data")


def real_file(name: str) -> Path:
    """A file of the local data, or a skipped test."""
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"no local data: {name} (set WARMLINE_DATA)")
    return path
