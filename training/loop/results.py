"""What came of a training: one run's figures, or mean and deviation over several seeds."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from ...core.files import write_whole
from .checkpoint import Checkpoint
from .command import metrics_table
from .settings import LoopSettings

RUNS_NAME = "runs.json"


def tell_runs(settings: LoopSettings, checkpoints: Sequence[Checkpoint], console: Console) -> None:
    """Show the metrics of the runs; those of several are written to `out/runs.json` too."""
    if len(checkpoints) == 1:
        values = {k: _told(v) for k, v in checkpoints[0].metrics.items()}
        console.print(metrics_table(str(settings.out), values))
        return
    runs = over_runs(checkpoints)
    shown = {k: f"{mean:.4f} ± {deviation:.4f}" for k, (mean, deviation) in runs.items()}
    console.print(metrics_table(f"{settings.out}, {settings.runs} runs", shown))
    record = {
        "seeds": [c.seed for c in checkpoints],
        "metrics": {k: {"mean": m, "deviation": d} for k, (m, d) in runs.items()},
    }
    write_whole(Path(settings.out or ".") / RUNS_NAME, json.dumps(record, indent=2) + "\n")


def tell_supporter(
    settings: LoopSettings, checkpoints: Sequence[Checkpoint], console: Console
) -> None:
    """The same of a supporter, and how to seat it."""
    tell_runs(settings, checkpoints, console)
    if len(checkpoints) == 1:
        console.print(
            "seat it: warmline simulate --supporter.policy transformers"
            f" --supporter.model {settings.out}",
            soft_wrap=True,
        )


def _told(value: float | None) -> str:
    return "not known" if value is None else f"{value:.6g}"


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (0 for a single value)."""
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def over_runs(checkpoints: Sequence[Checkpoint]) -> Mapping[str, tuple[float, float]]:
    """Mean and deviation of each metric that every run has."""
    names = [k for k, v in checkpoints[0].metrics.items() if v is not None]
    found = {}
    for name in names:
        values = [c.metrics.get(name) for c in checkpoints]
        known = [v for v in values if v is not None]
        if len(known) == len(checkpoints):
            found[name] = mean_and_deviation(known)
    return found
