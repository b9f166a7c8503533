"""One self-contained HTML page about one or several runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.lazy import lazy_names

if TYPE_CHECKING:
    from .data import RunView, read_run
    from .page import write_report

_HOMES = {
    ".data": (
        "RunView",
        "read_run",
    ),
    ".page": ("write_report",),
}

__all__ = ["RunView", "read_run", "write_report"]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
