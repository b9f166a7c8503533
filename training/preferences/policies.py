"""The policies that make preference data: those of the settings, or the trained model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from ...environments.runs.settings import EngineSettings
from ...policies.base import Policy, close_policy
from ...policies.registry import make_policy
from ..loop.base_model import base_name
from ..rows.advice import asks_counselor, counselor_engine
from .settings import PreferenceSettings

DEFAULT = "transformers"


def engine_names(settings: PreferenceSettings, model: str) -> dict[str, Any]:
    """What identifies the policies in a record of the calls."""
    reviser = settings.reviser if settings.own_reviser else settings.supporter
    names = {"supporter": _name(settings.supporter, model), "reviser": _name(reviser, model)}
    if asks_counselor(settings):
        names["counselor"] = ":".join(counselor_engine(settings).values())
    return names


@asynccontextmanager
async def open_engines(
    settings: PreferenceSettings,
    model: str,
    device: str,
    supporter: Policy | None = None,
    reviser: Policy | None = None,
) -> AsyncIterator[tuple[Policy, Policy]]:
    """Supporter and reviser; those made here are closed in the end.

    Args:
        model: that is trained; it answers where the settings name no policy.
        device: for that model.
        supporter, reviser: ready policies, in place of those of the settings.
    """
    made: list[Policy] = []

    def make(engine: EngineSettings) -> Policy:
        made.append(make_engine(engine, model, device))
        return made[-1]

    try:
        first = supporter or make(settings.supporter)
        yield first, reviser or (make(settings.reviser) if settings.own_reviser else first)
    finally:
        for policy in made:
            await close_policy(policy)


def make_engine(engine: EngineSettings, model: str, device: str) -> Policy:
    """One policy; where none is named, the `transformers` policy with the model that is trained."""
    given = engine.policy_options()
    if engine.policy is not None:
        return make_policy(engine.policy, **given)
    return make_policy(DEFAULT, **({"model": base_name(model), "device": device} | given))


def _name(engine: EngineSettings, model: str) -> str:
    named = engine.model or (model if engine.policy is None else None)
    return ":".join(filter(None, (engine.policy or DEFAULT, named)))
