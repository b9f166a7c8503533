"""The command `warmline train counselor`."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.console import Console
from rich.table import Table

from ...core.files import read_json
from ..loop.command import add_trainer, need_libraries, quiet_libraries
from .settings import CounselorSettings


def register(train: typer.Typer) -> None:
    """Add `counselor`."""
    add_trainer(train, "counselor", CounselorSettings, run)


def run(settings: CounselorSettings, console: Console) -> None:
    """Train and show the figures beside the baselines."""
    need_libraries()
    quiet_libraries()
    from ..loop.results import show_result
    from .train import REPORT_NAME, train_counselor

    result = train_counselor(settings, console=console)
    for folder in result.folders:
        file = folder / REPORT_NAME
        if file.is_file():
            console.print(comparison(read_json(file), folder))
    if len(result.checkpoints) > 1:
        show_result(result, console)
        return
    policy = "transformers" if settings.form == "labels" else "classifier"
    console.print(
        f"seat it: warmline simulate --counselor.policy {policy} --counselor.model {settings.out}",
        soft_wrap=True,
    )


def comparison(record: dict[str, object], folder: Path) -> Table:
    """The models of a report side by side."""
    table = Table(
        "model", "turns", "accuracy", "any label", "macro-F1", "bias", "ECE",
        title=f"{folder}: {record['turns']} turns of {record['dialogues']} test dialogues",
        caption="bias: sd of Bradley-Terry preferences; ECE: 10 bins; first label unless named",
    )  # fmt: skip
    models = record["models"]
    assert isinstance(models, dict)
    for name, found in models.items():
        figures = (
            _share(found["accuracy"]), _share(found["accuracy_any"]), _share(found["macro_f1"]),
            _number(found["bias"]), _number(found["ece"]),
        )  # fmt: skip
        table.add_row(name, str(found["count"]), *figures)
    return table


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
