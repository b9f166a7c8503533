"""How a run stands, read from its folder: nothing needs to run for it."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

from ...core.claim import CONFIG_NAME
from ...core.files import episode_logs, read_toml
from ...core.shards.status import read_statuses, shown_state
from ...core.stores.store import copy_of
from ..episodes.episode import FAILED
from ..episodes.log import read_episodes
from ..episodes.order import read_order
from ..runs.folder import SHARDS_NAME, WRITERS_NAME

BEGUN = ("scenarios.jsonl", "rejects.jsonl")
"""Files of a build that has no episode yet."""


def run_status(folder: str | Path) -> dict[str, Any]:
    """How far a run is, and what its workers say; also those that ask in parts, and play none.

    Returns:
        `episodes` finished, `asked` for (None where that is not kept: scenarios of a file or of Python, played by one process),
        `failed`, `stops` (how many, by how they ended), `tokens_per_second` of the workers at work,
        and `workers`: what each said last, with its `state` (`silent` where it has said nothing for
        a while) and `seconds_ago`.

    Raises:
        DataError: no log there, or a line that is not an episode.
    """
    place, folder = folder, copy_of(folder)
    said_last = read_statuses(_at_work_in(folder))
    begun = bool(said_last) or any((folder / name).is_file() for name in BEGUN)
    other_work = begun and not episode_logs(folder)
    stops = Counter(() if other_work else read_episodes(folder).stops)
    now = time.time()
    workers = [
        said | {"state": shown_state(said, now), "seconds_ago": round(now - said["updated"], 1)}
        for said in said_last
    ]
    # a build keeps the order of the rounds that were begun
    asked = max(sum(1 for _ in read_order(folder)), _asked_by(folder / CONFIG_NAME))
    return {
        "folder": str(place),
        "episodes": stops.total(),
        "asked": asked or None,
        "failed": sum(stops[end.value] for end in FAILED),
        "stops": dict(stops.most_common()),
        "tokens_per_second": round(
            sum(w["tokens_per_second"] for w in workers if w["state"] == "running"), 1
        ),
        "workers": workers,
    }


def _at_work_in(folder: Path) -> Path:
    """Where the workers last said how they are: those who write scenarios, while they are at it."""
    writers = folder.glob(f"{WRITERS_NAME}/*/{SHARDS_NAME}")
    return max(writers, key=lambda place: place.stat().st_mtime, default=folder / SHARDS_NAME)


def _asked_by(config: Path) -> int:
    """Episodes that a run's settings ask for; 0 where they name scenarios, or are not there."""
    asked = read_toml(config).get("episodes") if config.is_file() else None
    return asked if isinstance(asked, int) else 0
