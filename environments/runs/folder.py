"""What a run's folder holds beside the log: the resolved configuration and the summary.

`config.toml` holds the settings of the command, so that `warmline simulate config.toml` repeats it,
and under `[identity]` what decides the content of the episodes. Only the identity must not change
between two starts of one run; how many episodes, how many at once and how they are shown may.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...core.claim import CONFIG_NAME, claim, compare
from ...core.errors import RunError
from ...core.files import write_whole
from ..dialogue.environment import SupportEnvironment
from ..episodes.episode import EPISODE_VERSION, Episode
from ..episodes.log import LOG_NAME, EpisodeLog
from ..episodes.usage import Price, account

SUMMARY_NAME = "summary.json"


SOURCES_NAME = "sources.json"
"""The provenance that an import writes; see `corpus/sources.py`."""


def run_identity(
    environment: SupportEnvironment, seed: int, identity: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """What decides the content of a run's episodes, as plain data.

    Args:
        identity: in place of the environment's own description; for runs whose environment grows as
            they go (a corpus whose dialogues become cases).
    """
    described = environment.describe() if identity is None else identity
    return {"seed": seed, "episode_version": EPISODE_VERSION, **described}


@contextmanager
def claimed_log(
    folder: Path,
    environment: SupportEnvironment,
    seed: int,
    settings: Mapping[str, Any] | None = None,
    identity: Mapping[str, Any] | None = None,
) -> Iterator[EpisodeLog]:
    """Start or resume a run in `folder`: its log, open and locked, and the folder claimed.

    The log is locked first, so that of two starts at the same moment one is refused, and the folder's
    claim and the log always come from one run.

    Args:
        identity: see `run_identity`.

    Raises:
        RunError: the folder holds another run (the difference is shown) or an imported corpus, or the
            log is in use.
        DataError: its `config.toml` or its log cannot be read.
    """
    whole = run_identity(environment, seed, identity)
    if not compare(folder, whole) and (folder / SOURCES_NAME).is_file():
        raise _imported(folder)
    with EpisodeLog(folder / LOG_NAME) as log:
        claimed = compare(folder, whole)  # once more: another process may have had the lock
        _refuse_foreign(log, seed, None if claimed else environment.config_hash)
        claim(folder, whole, settings)
        yield log


def _imported(folder: Path) -> RunError:
    return RunError(
        f"{folder} holds an imported corpus; simulated conversations would pass for recorded ones",
        hint="choose another folder for the run",
    )


def _refuse_foreign(log: EpisodeLog, seed: int, config_hash: str | None) -> None:
    """Refuse a log in which there are episodes of another run.

    Args:
        config_hash: what the episodes must have; None where `config.toml` says more, and the hash of
            an earlier version may differ.
    """
    if any(origin.source for origin in log.origins):
        raise _imported(log.path.parent)
    changed = []
    seeds = sorted({origin.seed for origin in log.origins} - {seed})
    if seeds:
        changed.append(f"  seed: {', '.join(map(str, seeds))} -> {seed}")
    hashes = sorted({origin.config_hash for origin in log.origins} - {config_hash})
    if config_hash is not None and hashes:
        changed.append(f"  config_hash: {', '.join(hashes)} -> {config_hash}")
    if changed:
        raise RunError(
            f"{log.path} holds episodes of other settings (there -> here):\n" + "\n".join(changed),
            hint=f"give the old settings to finish that run (its {CONFIG_NAME} says which, where it"
            " is there), or another folder for the new one",
        )


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
