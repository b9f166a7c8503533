"""Where a training goes, whether its folder is taken or finished, and one run per seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from ...core.claim import CONFIG_NAME, FreshFolder, claim_json, identity_of, may_change
from ...core.errors import ConfigError, RunError
from ...core.files import episode_logs
from ...core.fixed import fixed_fields
from ..rows.sources import DataSource
from .checkpoint import Checkpoint, is_checkpoint, read_checkpoint
from .distributed import is_first
from .lock import LOCK_NAME, trained_alone
from .merge import merge_checkpoint
from .results import TrainingResult, result_of
from .settings import LoopSettings, RepeatedSettings

IDENTITY_NAME = "training.json"


def folder_of(settings: RepeatedSettings, kind: str, seed: int) -> Path:
    """Where a run goes: `out`, or `out/seed<n>` for one of several.

    Raises:
        ConfigError: the folder is not named.
    """
    if settings.out is None:
        raise ConfigError("no folder for the checkpoint", hint=f"--out runs/{kind}")
    out = Path(settings.out)
    return out if settings.runs == 1 else out / f"seed{seed}"


def claim(folder: Path, settings: LoopSettings, seed: int, data: Sequence[DataSource]) -> bool:
    """Start or resume a training in `folder`; returns whether it is finished already.

    Raises:
        RunError: the folder holds another training; the differences are shown.
    """
    file = folder / IDENTITY_NAME
    if not file.is_file():
        if is_checkpoint(folder):
            raise RunError(
                f"{folder} holds a checkpoint made elsewhere", hint="choose another folder"
            )
        if episode_logs(folder) or (folder / CONFIG_NAME).is_file():
            raise RunError(
                f"{folder} holds conversations or other work; a training has a folder of its own",
                hint="choose another --out",
            )
    hashes = [source.sha256 for source in data]
    identity = identity_of(settings) | {"seed": seed, "data": hashes}
    stored = may_change(type(settings)) | fixed_fields(type(settings)).keys()
    claim_json(file, identity, free=stored - identity.keys(), what="training")
    return is_checkpoint(folder)


def finished(
    folder: Path,
    settings: LoopSettings,
    seed: int,
    data: Sequence[DataSource],
    console: Console,
) -> Checkpoint | None:
    """The checkpoint of a training that is finished; else None, with the folder claimed for it.

    Raises:
        RunError: the folder holds another training.
    """
    if not claim(folder, settings, seed, data):
        return None
    console.print(f"{folder}: trained already")
    merge_if_asked(folder, settings)
    return read_checkpoint(folder)


def for_each_seed(
    settings: RepeatedSettings,
    kind: str,
    data: Sequence[DataSource],
    train: Callable[[Path, int], Checkpoint],
    console: Console,
) -> TrainingResult:
    """Train once for each seed, each in its folder; what is finished is only read.

    Args:
        train: trains into a folder, with a seed.

    Raises:
        ConfigError: no folder is named.
        RunError: a folder holds another training.
    """
    made = []
    for seed in range(settings.seed, settings.seed + settings.runs):
        folder = folder_of(settings, kind, seed)
        made.append(
            (
                folder,
                trained_in(folder, settings, seed, data, console, partial(train, folder, seed)),
            )
        )
    return result_of(Path(settings.out or "."), made)


def trained_in(
    folder: Path,
    settings: LoopSettings,
    seed: int,
    data: Sequence[DataSource],
    console: Console,
    train: Callable[[], Checkpoint],
) -> Checkpoint:
    """The checkpoint of a training in a folder: what is there, or what `train` makes.

    One that fails before it has written anything (no such model) leaves no folder.

    Raises:
        RunError: the folder holds another training.
        InUse: another process trains into it.
    """
    fresh = FreshFolder(folder)
    if is_checkpoint(folder) and (done := finished(folder, settings, seed, data, console)):
        return done
    with trained_alone(folder), fresh.unless_begun({IDENTITY_NAME, LOCK_NAME}):
        # another one may have finished it before the lock was free
        return finished(folder, settings, seed, data, console) or train()


def merge_if_asked(folder: Path, settings: LoopSettings) -> None:
    """Write the merged model into `merged/` if the settings ask for it and it is not there yet."""
    merged = folder / "merged"
    asked = getattr(settings, "merge", False)  # trainers of heads have nothing to merge
    if asked and is_first() and not merged.exists():
        merge_checkpoint(folder, merged)
