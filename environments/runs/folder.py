"""What a run's folder holds beside the log: the resolved configuration, claimed before it is written.

`config.toml` holds the settings of the command, so that `warmline simulate config.toml` repeats it,
and under `[identity]` what decides the content of the episodes. Only the identity must not change
between two starts of one run; how many episodes, how many at once and how they are shown may.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...core.claim import CONFIG_NAME, claim, compare
from ...core.errors import RunError
from ..dialogue.environment import SupportEnvironment
from ..episodes.episode import EPISODE_VERSION
from ..episodes.log import LOG_NAME, EpisodeLog
from .summary import SUMMARY_NAME

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
    if not _compared(folder, whole) and (folder / SOURCES_NAME).is_file():
        raise _imported(folder)
    with EpisodeLog(folder / LOG_NAME) as log:
        claimed = _compared(folder, whole)  # once more: another process may have had the lock
        _refuse_foreign(log, seed, None if claimed else environment.config_hash)
        if not claimed:
            (folder / CONFIG_NAME).unlink(missing_ok=True)
        claim(folder, whole, settings)
        yield log


def _compared(folder: Path, identity: Mapping[str, Any]) -> bool:
    """Whether this run has claimed the folder; a start that came to nothing claims none.

    Raises:
        RunError: another run has; the difference is shown.
    """
    try:
        return compare(folder, identity)
    except RunError:
        log = folder / LOG_NAME
        begun = log.is_file() and log.stat().st_size > 0
        more = {f.name for f in folder.iterdir()} - {CONFIG_NAME, LOG_NAME, SUMMARY_NAME}
        if begun or more or not log.is_file():
            raise
        return False


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
    if any(origin.source for origin in log.index.origins):
        raise _imported(log.path.parent)
    changed = []
    seeds = sorted({origin.seed for origin in log.index.origins} - {seed})
    if seeds:
        changed.append(f"  seed: {', '.join(map(str, seeds))} -> {seed}")
    hashes = sorted({origin.config_hash for origin in log.index.origins} - {config_hash})
    if config_hash is not None and hashes:
        changed.append(f"  config_hash: {', '.join(hashes)} -> {config_hash}")
    if changed:
        raise RunError(
            f"{log.path} holds episodes of other settings (there -> here):\n" + "\n".join(changed),
            hint=f"give the old settings to finish that run (its {CONFIG_NAME} says which, where it"
            " is there), or another folder for the new one",
        )
