"""How a measured model was trained: what its checkpoint says of itself, without the training room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...core.claim import CONFIG_NAME
from ...core.files import read_json, read_toml

CHECKPOINT_NAME = "checkpoint.json"
EVOLUTION = ("rounds", "split_rounds", "gate")
"""Settings of an evolution that a round's own checkpoint does not have."""


def model_facts(model: str) -> dict[str, Any] | None:
    """The settings of a checkpoint, with `kind`; None where the name is no checkpoint's folder.

    Of a round of `warmline evolve` also the settings of the evolution.

    Raises:
        DataError: a file that cannot be read.
    """
    file = Path(model) / CHECKPOINT_NAME
    if not file.is_file():
        return None
    record = read_json(file)
    return {**record.get("settings", {}), **_evolution(Path(model)), "kind": record.get("kind")}


def _evolution(folder: Path) -> dict[str, Any]:
    config = folder.parent.parent / CONFIG_NAME
    if not folder.parent.name.startswith("round-") or not config.is_file():
        return {}
    found = read_toml(config).get("identity", {}).get("evolve", {})
    return {name: found[name] for name in EVOLUTION if name in found}
