"""What a run's folder holds beside the log: the resolved configuration and the summary.

`config.toml` holds the settings of the command, so that `warmline simulate config.toml` repeats it,
and under `[identity]` what decides the content of the episodes. Only the identity must not change
between two starts of one run; how many episodes, how many at once and how they are shown may.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ...core.claim import claim
from ...core.files import write_whole
from ..dialogue.environment import SupportEnvironment
from ..episodes.episode import EPISODE_VERSION, Episode
from ..episodes.usage import Price, account

SUMMARY_NAME = "summary.json"


def claim_folder(
    folder: Path,
    environment: SupportEnvironment,
    seed: int,
    settings: Mapping[str, Any] | None = None,
    identity: Mapping[str, Any] | None = None,
) -> None:
    """Start or resume a run in `folder`.

    Args:
        identity: what decides the content, in place of the environment's own description; for runs
            whose environment grows as they go (a corpus whose dialogues become cases).

    Raises:
        RunError: the folder holds a run with another identity; the difference is shown.
        DataError: its `config.toml` cannot be read.
    """
    described = environment.describe() if identity is None else identity
    claim(folder, {"seed": seed, "episode_version": EPISODE_VERSION, **described}, settings)


def summarize(
    episodes: Iterable[Episode], prices: Mapping[str, Price] | None = None
) -> dict[str, Any]:
    """Counts over episodes: ends, lengths, strategies, caps, and usage by role.

    Args:
        episodes: read once, so a stream will do.
        prices: see `account`.
    """
    stops: Counter[str] = Counter()
    strategies: Counter[str] = Counter()
    repairs: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    count = utterances = crisis = unread = 0
    seconds = 0.0

    def counted() -> Iterator[Episode]:
        nonlocal count, utterances, crisis, unread, seconds
        for episode in episodes:
            count += 1
            stops[episode.stop.value] += 1
            utterances += len(episode.utterances)
            crisis += any(u.crisis for u in episode.utterances)
            repairs.update(repair for u in episode.utterances for repair in u.repairs)
            strategies.update(u.strategy.value for u in episode.utterances if u.strategy)
            unread += sum(verdict.end is None for verdict in episode.verdicts)
            seconds += episode.timing.seconds if episode.timing else 0.0
            if episode.error:
                errors[episode.error.type] += 1
            yield episode

    usage = account(counted(), prices)
    return {
        "episodes": count,
        "utterances": utterances,
        "utterances_per_episode": round(utterances / count, 2) if count else None,
        "stop": dict(stops.most_common()),
        "errors": dict(errors.most_common()),
        "strategies": dict(strategies.most_common()),
        "repairs": dict(repairs.most_common()),
        "episodes_with_crisis_language": crisis,
        "unreadable_verdicts": unread,
        "episode_seconds": round(seconds, 2),
        "usage": usage,
    }


def write_summary(
    folder: Path, episodes: Iterable[Episode], prices: Mapping[str, Price] | None = None
) -> None:
    """Write `summary.json`."""
    write_whole(
        folder / SUMMARY_NAME,
        json.dumps(summarize(episodes, prices), indent=2, ensure_ascii=False) + "\n",
    )
