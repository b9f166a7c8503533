"""Scenarios, the dialogue loop and its limits, the episode record and its log, and the runner."""

from ..core.errors import Interrupted
from .dialogue.conversation import Spoken
from .dialogue.environment import SupportEnvironment
from .dialogue.limits import Limits
from .episodes.episode import Call, Episode, EpisodeError, StopReason, Timing, Utterance, Verdict
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
    "seed_dialogues",
    "seed_scenarios",
    "simulate",
    "simulate_settings",
    "summarize",
]
