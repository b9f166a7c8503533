"""How a row of one turn is named."""

from __future__ import annotations

from ...environments.episodes.episode import Episode


def turn_id(episode: Episode, turn: int) -> str:
    """The id of the row of one utterance, which counts from 0."""
    return f"{episode.id}#{turn}"
