"""The four roles: what each may see, how it asks, how its reply is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.lazy import lazy_names

if TYPE_CHECKING:
    from .base import Agent
    from .counselor import StrategyCounselor
    from .judger import Judger
    from .observations import (
        Advise,
        Case,
        CaseTurn,
        CounselorObservation,
        Judge,
        JudgerObservation,
        Say,
        SeekerBrief,
        SeekerObservation,
        SupporterBrief,
        SupporterObservation,
        Turn,
    )
    from .roles import STRATEGY_LABELS, Role, Stage, Strategy, parse_strategy
    from .seeker import Seeker
    from .supporter import Supporter

_HOMES = {
    ".base": ("Agent",),
    ".counselor": ("StrategyCounselor",),
    ".judger": ("Judger",),
    ".observations": (
        "Advise",
        "Case",
        "CaseTurn",
        "CounselorObservation",
        "Judge",
        "JudgerObservation",
        "Say",
        "SeekerBrief",
        "SeekerObservation",
        "SupporterBrief",
        "SupporterObservation",
        "Turn",
    ),
    ".roles": (
        "STRATEGY_LABELS",
        "Role",
        "Stage",
        "Strategy",
        "parse_strategy",
    ),
    ".seeker": ("Seeker",),
    ".supporter": ("Supporter",),
}

__all__ = [
    "STRATEGY_LABELS",
    "Advise",
    "Agent",
    "Case",
    "CaseTurn",
    "CounselorObservation",
    "Judge",
    "Judger",
    "JudgerObservation",
    "Role",
    "Say",
    "Seeker",
    "SeekerBrief",
    "SeekerObservation",
    "Stage",
    "Strategy",
    "StrategyCounselor",
    "Supporter",
    "SupporterBrief",
    "SupporterObservation",
    "Turn",
    "parse_strategy",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
