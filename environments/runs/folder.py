"""What a run's folder holds beside the log: the resolved configuration, claimed before it is written.

`config.toml` holds the settings of the command, so that `warmline simulate --config config.toml` repeats it,
and under `[identity]` what decides the content of the episodes. Only the identity must not change
between two starts of one run; how many episodes, how many at once and how they are shown may.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...core.claim import CONFIG_NAME, FreshFolder, OtherSettings, claim, compare
from ...core.errors import RunError
from ...core.files import episode_logs
from ...core.shards.on_slurm import refuse_active
from ..dialogue.environment import SupportEnvironment
from ..episodes.episode import EPISODE_VERSION
from ..episodes.index import LogIndex
from ..episodes.log import LOG_NAME, EpisodeLog
from ..episodes.order import ORDER_NAME
from .summary import SUMMARY_NAME

POOLS = frozenset({"cases", "pools"})
"""Keys of a run's identity that tell which pool it draws from."""

SHARDS_NAME = "shards"
"""Where several workers leave what they say of themselves; see `core/shards/`."""

WRITERS_NAME = "scenarios-workers"
"""Where the workers of a build that write its scenarios do the same, a folder for each attempt."""

RUN_FILES = (
    LOG_NAME,
    CONFIG_NAME,
    SUMMARY_NAME,
    "episodes-[0-9]*.jsonl",
    f"{SHARDS_NAME}/[0-9]*.log",
    f"{SHARDS_NAME}/[0-9]*.json",
    f"{SHARDS_NAME}/plan-*",
    f"{SHARDS_NAME}/slurm/*",
)
"""Patterns of what a run may have written before its first episode has ended."""

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


def compare_run(folder: Path, identity: Mapping[str, Any]) -> bool:
    """`core.claim.compare` for a run.

    Raises:
        RunError: other settings; or the same ones over another pool, which the message says.
    """
    try:
        return compare(folder, identity)
    except OtherSettings as error:
        if not error.changed.keys() <= POOLS:
            raise
        digests = ", ".join(f"{k}: {there} -> {here}" for k, (there, here) in error.changed.items())
        raise RunError(
            f"{folder} holds a run with the same settings over another pool ({digests}): the seed pool"
            " has changed since it was begun, or another pool is given. Its seed would draw other"
            " scenarios now, and supporters would see other case dialogues",
            hint="finish it with the version of Warmline that began it, or play in another folder; what"
            " is logged there can be read, analysed and trained on as it is",
        ) from None


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
    claim and the log always come from one run. A start that fails before its first episode has ended
    leaves nothing behind.

    Args:
        identity: see `run_identity`.

    Raises:
        RunError: the folder holds another run (the difference is shown) or an imported corpus, or the
            log is in use, or an array of Slurm plays it.
        DataError: its `config.toml` or its log cannot be read.
    """
    whole = run_identity(environment, seed, identity)
    if not _compared(folder, whole) and (folder / SOURCES_NAME).is_file():
        raise _imported(folder)
    fresh = FreshFolder(folder)
    with EpisodeLog(folder / LOG_NAME) as log:
        claimed = _compared(folder, whole)  # once more: another process may have had the lock
        for index in (log.index, *other_logs(folder)):
            _refuse_foreign(index, seed, None if claimed else environment.config_hash)
        if not claimed:
            (folder / CONFIG_NAME).unlink(missing_ok=True)
        refuse_active(folder / SHARDS_NAME)
        claim(folder, whole, settings)
        with fresh.unless_begun(RUN_FILES, prepared=(ORDER_NAME,)):
            yield log


def _compared(folder: Path, identity: Mapping[str, Any]) -> bool:
    """Whether this run has claimed the folder; a start that came to nothing claims none.

    Raises:
        RunError: another run has; the difference is shown.
    """
    try:
        return compare_run(folder, identity)
    except RunError:
        logs = episode_logs(folder)
        begun = any(log.stat().st_size > 0 for log in logs)
        ours = {CONFIG_NAME, SUMMARY_NAME, ORDER_NAME, SHARDS_NAME, *(log.name for log in logs)}
        if begun or not logs or {f.name for f in folder.iterdir()} - ours:
            raise
        return False


def other_logs(folder: Path) -> list[LogIndex]:
    """The indices of the logs that several workers wrote in a run's folder, in the order in which
    they are read.

    Raises:
        DataError: a line that is not an episode; names file, line and field.
    """
    return [LogIndex.of(file) for file in episode_logs(folder) if file.name != LOG_NAME]


def _imported(folder: Path) -> RunError:
    return RunError(
        f"{folder} holds an imported corpus; simulated conversations would pass for recorded ones",
        hint="choose another folder for the run",
    )


def _refuse_foreign(log: LogIndex, seed: int, config_hash: str | None) -> None:
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
