"""A policy as an OpenAI-compatible server, so that other tools can talk to a Warmline supporter."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...core.lazy import lazy_names

if TYPE_CHECKING:
    from .app import make_app
    from .seat import SupporterSeat
    from .server import serve_policy, serving

_HOMES = {
    ".app": ("make_app",),
    ".seat": ("SupporterSeat",),
    ".server": ("serve_policy", "serving"),
}

__all__ = ["SupporterSeat", "make_app", "serve_policy", "serving"]

__getattr__, __dir__ = lazy_names(__name__, _HOMES, extra="web")
