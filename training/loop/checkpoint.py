"""The checkpoint folder: an adapter (or a whole model), and all that says how it came about.

    adapter_config.json, adapter_model.safetensors   the weights, as PEFT reads them
    tokenizer.json, ...                               the tokenizer with its chat template
    checkpoint.json                                   kind, base, parent, settings, data, metrics
    seen.json                                         which dialogues it has seen
    training_log.jsonl                                what was logged while training
    README.md                                         the model card, with the disclaimer

Such a folder is at once a model for the `transformers` policy, and the base of a further training.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from ...core.errors import DataError
from ...core.files import read_json, read_text, write_whole
from ...core.record import Record, problems_of
from ...core.tables import markdown_table
from ...policies.safety import DISCLAIMER
from ..rows.left_out import LeftOut
from ..rows.sources import DataSource

CHECKPOINT_NAME = "checkpoint.json"
LOG_NAME = "training_log.jsonl"
CARD_NAME = "README.md"
CHECKPOINT_VERSION: Literal[1] = 1

LIBRARIES = ("torch", "transformers", "peft", "accelerate")


def _is_empty(value: object) -> bool:
    """Keeps a field out of records that were written before it was."""
    return not value


class Checkpoint(Record):
    """What a checkpoint says about itself.

    Attributes:
        kind: what was trained: sft, counselor, scorer, fpemf, dpo.
        base: the model that the adapter lies on, as it was named: may be another checkpoint.
        base_identity: hashes of the base's weights.
        parent: the checkpoint that it was trained from, relative to this folder; None for a base
            model that is not a checkpoint.
        settings: resolved, every field.
        data: what was learned from; hashes and counts.
        rows: counts: used, and bad ones by fault.
        seen: how many dialogues it has seen in training and validation, its lineage included;
            which ones is in `seen.json`.
        left_out: what was not learned from, and why; of both sides of the split.
        metrics: of the weights that were kept.
        heads: options by head, in the order of the logits; empty for a model that writes text.
        seed: of this run.
        libraries: versions.
        created: UTC, ISO 8601.
    """

    version: Literal[1] = CHECKPOINT_VERSION
    kind: str
    base: str
    base_identity: dict[str, Any] = Field(default_factory=dict)
    parent: str | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    data: tuple[DataSource, ...] = ()
    rows: dict[str, int] = Field(default_factory=dict)
    seen: dict[str, int] = Field(default_factory=dict, exclude_if=_is_empty)
    left_out: tuple[LeftOut, ...] = ()
    metrics: dict[str, float | None] = Field(default_factory=dict)
    heads: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    seed: int = 0
    libraries: dict[str, str] = Field(default_factory=dict)
    warmline: str = ""
    created: str = ""


def libraries() -> dict[str, str]:
    """Versions of the libraries that decide what training computes."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def write_checkpoint(
    folder: Path, checkpoint: Checkpoint, log: Iterable[Mapping[str, Any]]
) -> None:
    """Write card, log and, last of all, `checkpoint.json`: where it is, the folder is complete.

    Weights and tokenizer must lie there already.

    Raises:
        RunError: the disk refuses.
    """
    lines = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in log)
    write_whole(folder / LOG_NAME, lines)
    write_whole(folder / CARD_NAME, model_card(folder.name, checkpoint))
    text = json.dumps(checkpoint.model_dump(mode="json"), indent=2, ensure_ascii=False)
    write_whole(folder / CHECKPOINT_NAME, text + "\n")


def read_checkpoint(folder: str | Path) -> Checkpoint:
    """The record of a checkpoint folder.

    Raises:
        DataError: there is none, or it cannot be read.
    """
    file = Path(folder) / CHECKPOINT_NAME
    if not file.is_file():
        raise DataError(
            "no checkpoint there",
            file=folder,
            hint="`warmline checkpoints` lists those below runs/",
        )
    try:
        return Checkpoint.model_validate_json(read_text(file))
    except ValidationError as error:
        raise DataError("; ".join(problems_of(error, Checkpoint)[:3]), file=file) from None


def is_checkpoint(folder: str | Path) -> bool:
    """Whether a folder is a complete checkpoint."""
    return (Path(folder) / CHECKPOINT_NAME).is_file()


def parent_of(model: str, folder: Path) -> str | None:
    """The checkpoint that `model` names, relative to `folder`; None if it is not one."""
    return relative_to(folder, Path(model)) if is_checkpoint(model) else None


def relative_to(folder: Path, other: Path) -> str:
    """The path from one folder to another, so that both can be moved together."""
    return Path(os.path.relpath(other.resolve(), folder.resolve())).as_posix()


def name_base(folder: Path, base: str) -> None:
    """State in the adapter's configuration what it lies on.

    A checkpoint is named by its path from the adapter's folder, so that both can be moved together;
    any other folder or file by its full path.
    """
    file = folder / "adapter_config.json"
    config = read_json(file)
    path = Path(base).expanduser()
    whole = str(path.resolve()) if path.exists() else base
    config["base_model_name_or_path"] = parent_of(base, folder) or whole
    write_whole(file, json.dumps(config, indent=2) + "\n")


def find_checkpoints(folder: str | Path) -> dict[Path, Checkpoint]:
    """All checkpoints in and below a folder, by their resolved path, in the order of their making.

    Raises:
        DataError: no such folder, or a `checkpoint.json` that cannot be read.
    """
    top = Path(folder)
    if not top.is_dir():
        raise DataError("no such folder", file=top, hint="give the folder that holds your runs")
    found = {
        file.parent.resolve(): read_checkpoint(file.parent)
        for file in sorted(top.rglob(CHECKPOINT_NAME))
    }
    return dict(sorted(found.items(), key=lambda item: item[1].created))


def lineage(checkpoints: Mapping[Path, Checkpoint]) -> dict[Path | str, list[Path]]:
    """Children by parent: a checkpoint's path, or the name of a base model."""
    children: dict[Path | str, list[Path]] = {}
    for path, checkpoint in checkpoints.items():
        above: Path | str = checkpoint.base
        if checkpoint.parent is not None:
            parent = (path / checkpoint.parent).resolve()
            above = parent if parent in checkpoints else str(parent)
        children.setdefault(above, []).append(path)
    return children


def model_card(name: str, checkpoint: Checkpoint) -> str:
    """The model card: what it is, from what, how good, and what it must not be used for."""
    seat = _seat_of(checkpoint)
    parts = [
        f"# {name}",
        f"A {checkpoint.kind} checkpoint made with Warmline {checkpoint.warmline} on"
        f" {checkpoint.created[:10]}, an adapter on `{Path(checkpoint.base).name}`.",
        f"> {DISCLAIMER}",
        f"It sits as the {seat} of simulated conversations. It is not a therapist, it was not"
        " examined by clinicians, and people in need must not be left alone with it.",
        _table("Metrics", ("measure", "value"), _shown(checkpoint.metrics)),
        _table("Data", ("source", "items"), [(s.name, str(s.items)) for s in checkpoint.data]),
        _table(
            "Dialogues seen, its lineage included",
            ("in", "dialogues"),
            [(k, str(v)) for k, v in checkpoint.seen.items()],
        ),
        _table("Rows", ("rows", "count"), [(k, str(v)) for k, v in checkpoint.rows.items()]),
        _table(
            "Left out", ("why", "count"), [(e.reason, str(e.count)) for e in checkpoint.left_out]
        ),
        _table(
            "Settings", ("setting", "value"), [(k, str(v)) for k, v in _settings_shown(checkpoint)]
        ),
        "Libraries: " + ", ".join(f"{k} {v}" for k, v in checkpoint.libraries.items()),
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _seat_of(checkpoint: Checkpoint) -> str:
    """Where it sits: the seats that it was trained for, else by its kind."""
    named = [seat.partition("=")[0] for seat in checkpoint.settings.get("seats", ())]
    if named:
        return " or ".join(filter(None, (", ".join(named[:-1]), named[-1])))
    return checkpoint.kind if checkpoint.kind in ("counselor", "scorer") else "supporter"


def _settings_shown(checkpoint: Checkpoint) -> list[tuple[str, Any]]:
    paths = {"data", "validation", "out", "model", "replay"}
    return [(k, v) for k, v in checkpoint.settings.items() if k not in paths and v is not None]


def _shown(metrics: Mapping[str, float | None]) -> list[tuple[str, str]]:
    return [(k, "not known" if v is None else f"{v:.6g}") for k, v in metrics.items()]


def _table(title: str, head: tuple[str, str], rows: Sequence[tuple[str, str]]) -> str:
    if not rows:
        return ""
    return f"## {title}\n\n{markdown_table(head, rows, numbers=False)}"
