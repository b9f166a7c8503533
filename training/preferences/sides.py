"""The two sides of a preference pair, as they are read from the calls."""

from __future__ import annotations

from collections.abc import Mapping

from ...agents.roles import Role, Strategy
from ...agents.speech import read_speech, written_strategy
from ...policies.text.sentences import cap_sentences
from .reflection import CallRecord, call_id, read_reflection, text_of
from .settings import PreferenceSettings


def read_reply(text: str, settings: PreferenceSettings) -> str:
    """What a supporter said, as a simulation reads it: no labels, no `N/A`, sentences capped."""
    return cap_sentences(read_speech(text, Role.SUPPORTER).text, settings.max_sentences)[0].strip()


def written_reply(
    context: str, calls: Mapping[str, CallRecord], settings: PreferenceSettings
) -> tuple[str | None, int | None, list[str]]:
    """The reply that is to be chosen, the model's score of the rejected one, and the calls used."""
    if settings.variant == "gold":
        return None, None, []
    if settings.variant == "stronger":
        name = call_id(context, "stronger")
        text = text_of(calls, context, "stronger") or ""
        return read_reply(text, settings) or None, None, [name] if name in calls else []
    analysis, used = read_reflection(context, calls, settings.tries)
    if analysis is None:
        return None, None, used
    return read_reply(analysis["reply"], settings) or None, int(analysis["score"]), used


def chosen_strategy(
    context: str, calls: Mapping[str, CallRecord], settings: PreferenceSettings
) -> Strategy | None:
    """The strategy that the reflection's or the stronger model's reply begins with, if any."""
    if settings.variant == "stronger":
        return written_strategy(text_of(calls, context, "stronger") or "")
    analysis, _ = read_reflection(context, calls, settings.tries)
    return written_strategy(analysis["reply"]) if analysis else None
