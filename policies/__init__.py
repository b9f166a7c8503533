"""How text is decided: engines, wrappers, scripted and human policies, and the plug-in door."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.errors import ConfigError, DataError, PolicyError, RunError, WarmlineError
from ..core.lazy import lazy_names
from .base import (
    BasePolicy,
    Capabilities,
    FinishReason,
    Message,
    Policy,
    Reply,
    Request,
    Sampling,
    TokenLogprob,
    Usage,
)
from .registry import find_policy, known_policies, make_policy

if TYPE_CHECKING:
    from .human.policy import HumanPolicy
    from .llama.policy import EmbeddedPolicy
    from .openai.policy import OpenAIPolicy
    from .replay import ReplayPolicy
    from .safety import crisis_kinds
    from .scripted import ScriptedPolicy

_HOMES = {
    ".human.policy": ("HumanPolicy",),
    ".llama.policy": ("EmbeddedPolicy",),
    ".openai.policy": ("OpenAIPolicy",),
    ".replay": ("ReplayPolicy",),
    ".scripted": ("ScriptedPolicy",),
    ".safety": ("crisis_kinds",),
}

__all__ = [
    "BasePolicy",
    "Capabilities",
    "ConfigError",
    "DataError",
    "EmbeddedPolicy",
    "FinishReason",
    "HumanPolicy",
    "Message",
    "OpenAIPolicy",
    "Policy",
    "PolicyError",
    "ReplayPolicy",
    "Reply",
    "Request",
    "RunError",
    "Sampling",
    "ScriptedPolicy",
    "TokenLogprob",
    "Usage",
    "WarmlineError",
    "crisis_kinds",
    "find_policy",
    "known_policies",
    "make_policy",
]

__getattr__, __dir__ = lazy_names(__name__, _HOMES)
