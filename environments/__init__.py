"""Scenarios, the dialogue loop and its limits, the episode record and its log, and the runner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.lazy import lazy_names

if TYPE_CHECKING:
    from ..core.errors import Interrupted
    from .dialogue.environment import SupportEnvironment
    from .dialogue.limits import Limits
    from .dialogue.spoken import Spoken
    from .episodes.episode import (
        Call,
        Episode,
        EpisodeError,
        StopReason,
        Timing,
        Utterance,
        Verdict,
    )
    from .episodes.frame import to_frame
    from .episodes.log import EpisodeLog, iter_episodes, read_episodes
    from .episodes.sequence import Episodes
    from .runs.events import Ended, Resumed, Started
    from .runs.runner import run_batch
    from .runs.settings import RoleSettings, RunSettings, load_settings
    from .runs.simulate import build_environment, choose_scenarios, simulate, simulate_settings
    from .runs.summary import summarize
    from .scenarios.problem_types import ProblemType, problem_types
    from .scenarios.scenario import (
        CaseDialogue,
        CaseDialogueTurn,
        Origin,
        Profile,
        Scenario,
        read_scenarios,
    )
    from .scenarios.seed_pool import CasePool, draw_scenarios, seed_dialogues, seed_scenarios
    from .shards.run import run_sharded

_HOMES = {
    "..core.errors": ("Interrupted",),
    ".dialogue.spoken": ("Spoken",),
    ".dialogue.environment": ("SupportEnvironment",),
    ".dialogue.limits": ("Limits",),
    ".episodes.episode": (
        "Call",
        "Episode",
        "EpisodeError",
        "StopReason",
        "Timing",
        "Utterance",
        "Verdict",
    ),
    ".episodes.frame": ("to_frame",),
    ".episodes.log": (
        "EpisodeLog",
        "iter_episodes",
        "read_episodes",
    ),
    ".episodes.sequence": ("Episodes",),
    ".runs.events": (
        "Ended",
        "Resumed",
        "Started",
    ),
    ".runs.runner": ("run_batch",),
    ".runs.settings": (
        "RoleSettings",
        "RunSettings",
        "load_settings",
    ),
    ".runs.simulate": (
        "build_environment",
        "choose_scenarios",
        "simulate",
        "simulate_settings",
    ),
    ".runs.summary": ("summarize",),
    ".scenarios.problem_types": (
        "ProblemType",
        "problem_types",
    ),
    ".scenarios.scenario": (
        "CaseDialogue",
        "CaseDialogueTurn",
        "Origin",
        "Profile",
        "Scenario",
        "read_scenarios",
    ),
    ".scenarios.seed_pool": (
        "CasePool",
        "draw_scenarios",
        "seed_dialogues",
        "seed_scenarios",
    ),
    ".shards.run": ("run_sharded",),
}

__all__ = [
    "Call",
    "CaseDialogue",
    "CaseDialogueTurn",
    "CasePool",
    "Ended",
    "Episode",
    "EpisodeError",
    "EpisodeLog",
    "Episodes",
    "Interrupted",
    "Limits",
    "Origin",
    "ProblemType",
    "Profile",
    "Resumed",
    "RoleSettings",
    "RunSettings",
    "Scenario",
    "Spoken",
    "Started",
    "StopReason",
    "SupportEnvironment",
    "Timing",
    "Utterance",
    "Verdict",
    "build_environment",
    "choose_scenarios",
    "draw_scenarios",
    "iter_episodes",
    "load_settings",
    "problem_types",
    "read_episodes",
    "read_scenarios",
    "run_batch",
    "run_sharded",
    "seed_dialogues",
    "seed_scenarios",
    "simulate",
    "simulate_settings",
    "summarize",
    "to_frame",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
