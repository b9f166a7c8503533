"""What a training returns: checkpoints with their folders, and metrics as means over the seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from ...agents.roles import Role
from ...core.errors import RunError
from ...core.files import write_whole
from ...environments.runs.trained import PromptForm, form_of
from ...evaluation.statistics.planning import across_seeds
from .checkpoint import Checkpoint
from .command import metrics_table
from .distributed import is_first

RUNS_NAME = "runs.json"

Made = tuple[Path, Checkpoint]
"""A checkpoint with its folder."""


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training left behind.

    Attributes:
        folder: `out` of the settings.
        folders: of the checkpoints; `folder` itself for one, and below it for several.
        checkpoints: their records, in the same order: by seed, and for scorers with an adapter for
            each dimension by dimension.
        metrics: of a single run, as its checkpoint has them (None: could not be measured); of
            several seeds the means of the metrics that every run has.
        deviations: sample standard deviations over the seeds; empty for a single run.
    """

    folder: Path
    folders: tuple[Path, ...]
    checkpoints: tuple[Checkpoint, ...]
    metrics: Mapping[str, float | None]
    deviations: Mapping[str, float] = field(default_factory=dict)

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint of a training that has one.

        Raises:
            RunError: it has several.
        """
        if len(self.checkpoints) != 1:
            raise RunError(
                f"{self.folder} has {len(self.checkpoints)} checkpoints",
                hint="`checkpoints` and `folders` hold all of them",
            )
        return self.checkpoints[0]

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs."""
        return tuple(dict.fromkeys(c.seed for c in self.checkpoints))


def result_of(folder: Path, made: Sequence[Made]) -> TrainingResult:
    """The result of a training; metrics of several seeds are written to `runs.json` as well.

    Raises:
        RunError: the disk refuses.
    """
    folders, checkpoints = zip(*made, strict=True)
    runs = _by_seed(checkpoints)
    if len(runs) == 1:
        return TrainingResult(folder, folders, checkpoints, next(iter(runs.values())))
    found = {k: across_seeds(values) for k, values in _shared(list(runs.values())).items()}
    means = {name: each.mean for name, each in found.items()}
    deviations = {name: each.sd or 0.0 for name, each in found.items()}
    record = {
        "seeds": list(runs),
        "metrics": {k: {"mean": means[k], "deviation": deviations[k]} for k in found},
    }
    if is_first():
        write_whole(folder / RUNS_NAME, json.dumps(record, indent=2) + "\n")
    return TrainingResult(folder, folders, checkpoints, means, deviations)


def _by_seed(checkpoints: Sequence[Checkpoint]) -> dict[int, dict[str, float | None]]:
    """The metrics of each run; where it has several checkpoints, each name begins with a head's."""
    runs: dict[int, dict[str, float | None]] = {}
    several = len(checkpoints) > len({c.seed for c in checkpoints})
    for checkpoint in checkpoints:
        head = next(iter(checkpoint.heads), "") if several else ""
        for name, value in checkpoint.metrics.items():
            named = name if not head or name.startswith(f"{head}_") else f"{head}_{name}"
            runs.setdefault(checkpoint.seed, {})[named] = value
    return runs


def _shared(runs: Sequence[Mapping[str, float | None]]) -> dict[str, list[float]]:
    """The values of each metric that every run has."""
    found = {}
    for name in runs[0]:
        values = [run.get(name) for run in runs]
        known = [value for value in values if value is not None]
        if len(known) == len(runs):
            found[name] = known
    return found


# On the terminal


def show_result(result: TrainingResult, console: Console) -> None:
    """Print the metrics: values of one run, mean and deviation of several."""
    if not result.deviations:
        values = {k: _figure(v) for k, v in result.metrics.items()}
        console.print(metrics_table(str(result.folder), values))
        return
    shown = {k: f"{v:.4f} ± {result.deviations[k]:.4f}" for k, v in _known(result).items()}
    console.print(metrics_table(f"{result.folder}, {len(result.seeds)} runs", shown))


def show_speaker(
    result: TrainingResult, console: Console, seats: Sequence[Role] = (Role.SUPPORTER,)
) -> None:
    """The same for a model that plays seats, and the command that seats it."""
    show_result(result, console)
    if len(result.checkpoints) == 1:
        form = form_of(result.checkpoint.settings, result.folder)
        words = seating(seats, result.folder, form)
        console.print(f"seat it: warmline simulate {words}", soft_wrap=True)


def seating(seats: Sequence[Role], folder: Path, form: PromptForm | None = None) -> str:
    """The options that seat a checkpoint in these seats, and ask its supporter as it was trained."""
    places = [""] if set(seats) == set(Role) else [f"{seat}." for seat in seats]
    words = [f"--{p}policy transformers --{p}model {folder}" for p in places]
    return " ".join([*words, form.options()] if form is not None else words)


def _known(result: TrainingResult) -> dict[str, float]:
    return {k: v for k, v in result.metrics.items() if v is not None}


def _figure(value: float | None) -> str:
    return "not known" if value is None else f"{value:.6g}"
