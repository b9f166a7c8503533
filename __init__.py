"""Warmline: simulate, log, train on and evaluate emotional-support conversations between agents.

Names are imported on first use, so that `import warmline` stays light.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

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
        seed_dialogues,
        seed_scenarios,
        simulate,
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
    "agents": ("Agent", "Judger", "Seeker", "Strategy", "StrategyCounselor", "Supporter"),
    "environments": (
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
        "seed_dialogues",
        "seed_scenarios",
        "simulate",
    ),
    "policies": (
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
_HOME_OF = {name: room for room, names in _HOMES.items() for name in names}

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
    "seed_dialogues",
    "seed_scenarios",
    "simulate",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("warmline")
    if name in _HOMES:
        return import_module(f".{name}", __name__)
    if (room := _HOME_OF.get(name)) is None:
        raise AttributeError(f"module 'warmline' has no attribute '{name}'")
    value = getattr(import_module(f".{room}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
