"""Warmline: simulate, log, train on and evaluate emotional-support conversations between agents.

Names are imported on first use, so that `import warmline` stays light.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from .core.lazy import lazy_names

if TYPE_CHECKING:
    from . import agents, environments, policies
    from .agents import (
        Agent,
        Judger,
        Seeker,
        Strategy,
        StrategyCounselor,
        Supporter,
    )
    from .environments import (
        CaseDialogue,
        Episode,
        Profile,
        Scenario,
        StopReason,
        SupportEnvironment,
        draw_scenarios,
        iter_episodes,
        problem_types,
        read_episodes,
        read_scenarios,
        run_batch,
        run_sharded,
        seed_dialogues,
        seed_scenarios,
        simulate,
        to_frame,
    )
    from .policies import (
        EmbeddedPolicy,
        HumanPolicy,
        OpenAIPolicy,
        Policy,
        ReplayPolicy,
        Reply,
        Request,
        Sampling,
        ScriptedPolicy,
        Usage,
        WarmlineError,
        crisis_kinds,
        make_policy,
    )

_HOMES = {
    ".": ("agents", "environments", "policies"),
    ".agents": ("Agent", "Judger", "Seeker", "Strategy", "StrategyCounselor", "Supporter"),
    ".environments": (
        "CaseDialogue",
        "Episode",
        "Profile",
        "Scenario",
        "StopReason",
        "SupportEnvironment",
        "draw_scenarios",
        "iter_episodes",
        "problem_types",
        "read_episodes",
        "read_scenarios",
        "run_batch",
        "run_sharded",
        "seed_dialogues",
        "seed_scenarios",
        "simulate",
        "to_frame",
    ),
    ".policies": (
        "EmbeddedPolicy",
        "HumanPolicy",
        "OpenAIPolicy",
        "Policy",
        "ReplayPolicy",
        "Reply",
        "Request",
        "Sampling",
        "ScriptedPolicy",
        "Usage",
        "WarmlineError",
        "crisis_kinds",
        "make_policy",
    ),
}

__all__ = [
    "Agent",
    "CaseDialogue",
    "EmbeddedPolicy",
    "Episode",
    "HumanPolicy",
    "Judger",
    "OpenAIPolicy",
    "Policy",
    "Profile",
    "ReplayPolicy",
    "Reply",
    "Request",
    "Sampling",
    "Scenario",
    "ScriptedPolicy",
    "Seeker",
    "StopReason",
    "Strategy",
    "StrategyCounselor",
    "SupportEnvironment",
    "Supporter",
    "Usage",
    "WarmlineError",
    "agents",
    "crisis_kinds",
    "draw_scenarios",
    "environments",
    "iter_episodes",
    "make_policy",
    "policies",
    "problem_types",
    "read_episodes",
    "read_scenarios",
    "run_batch",
    "run_sharded",
    "seed_dialogues",
    "seed_scenarios",
    "simulate",
    "to_frame",
]

_getattr, _dir = lazy_names(__name__, _HOMES)


def __getattr__(name: str) -> Any:
    return version("warmline") if name == "__version__" else _getattr(name)


def __dir__() -> list[str]:
    return sorted({*_dir(), "__version__"})
