"""The command `warmline train sft`."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import typer
from rich.console import Console

from ..environments.run_folder import write_whole
from ..policies.errors import MissingExtra
from .settings import SftSettings
from .train_command import add_trainer, metrics_table, quiet_libraries


def register(train: typer.Typer) -> None:
    """Add `sft`."""
    add_trainer(
        train, "sft", SftSettings, run, "Fine-tune a supporter on conversations; resumes by itself."
    )


def need_libraries() -> None:
    """Refuse early, and by name, where the libraries of training are missing.

    Raises:
        MissingExtra: they are.
    """
    if any(find_spec(name) is None for name in ("torch", "transformers", "peft", "accelerate")):
        raise MissingExtra("training", extra="train")


def run(settings: SftSettings, console: Console) -> None:
    """Train and tell how good it became."""
    need_libraries()
    quiet_libraries()
    from .sft import over_runs, train_sft

    checkpoints = train_sft(settings, console=console)
    if len(checkpoints) == 1:
        values = {k: _told(v) for k, v in checkpoints[0].metrics.items()}
        console.print(metrics_table(str(settings.out), values))
        console.print(
            "seat it: warmline simulate --supporter.policy transformers"
            f" --supporter.model {settings.out}",
            markup=False,
            soft_wrap=True,
        )
        return
    runs = over_runs(checkpoints)
    shown = {k: f"{mean:.4f} ± {deviation:.4f}" for k, (mean, deviation) in runs.items()}
    console.print(metrics_table(f"{settings.out}, {settings.runs} runs", shown))
    record = {
        "seeds": [c.seed for c in checkpoints],
        "metrics": {k: {"mean": m, "deviation": d} for k, (m, d) in runs.items()},
    }
    write_whole(Path(settings.out or ".") / "runs.json", json.dumps(record, indent=2) + "\n")


def _told(value: float | None) -> str:
    return "not known" if value is None else f"{value:.6g}"
