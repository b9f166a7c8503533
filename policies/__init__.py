"""How text is decided: engines, wrappers, scripted and human policies, and the plug-in door."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

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
from .errors import ConfigError, DataError, PolicyError, RunError, WarmlineError
from .registry import find_policy, known_policies, make_policy

if TYPE_CHECKING:
    from .embedded import EmbeddedPolicy
    from .human import HumanPolicy
    from .openai import OpenAIPolicy
    from .replay import ReplayPolicy
    from .safety import crisis_kinds
    from .scripted import ScriptedPolicy

_LATE = {
    "EmbeddedPolicy": "embedded",
    "HumanPolicy": "human",
    "OpenAIPolicy": "openai",
    "ReplayPolicy": "replay",
    "ScriptedPolicy": "scripted",
    "crisis_kinds": "safety",
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


def __getattr__(name: str) -> Any:
    if (module := _LATE.get(name)) is None:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(import_module(f".{module}", __name__), name)
