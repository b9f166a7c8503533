"""A checkpoint's adapter as it is shipped: small, and without a path of the machine that made it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ...core.errors import ConfigError
from ...core.files import read_json, write_whole
from ...environments.corpus.seen import SEEN_NAME
from ...policies.models.sources import ADAPTER_CONFIG, ADAPTER_WEIGHTS, EMBEDDED
from .checkpoint import LOG_NAME, Checkpoint, read_checkpoint, write_checkpoint

EMBEDDED_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""What the embedded engine's weights are called on the hub."""

OWN_PLACES = ("out", "validation", "replay", "counselor")
"""Settings that may be paths."""


def pack_checkpoint(folder: str | Path, out: str | Path) -> Path:
    """Write a checkpoint's adapter in bfloat16, with its configuration, card and records; returns `out`.

    The tokenizer is the base model's and stays behind. What an earlier packing left in `out` is
    replaced.

    Raises:
        DataError: no checkpoint.
        ConfigError: it is not an adapter on the embedded model or on one of the hub, or a setting
            names a place on this machine.
    """
    import torch
    from safetensors.torch import load_file, save_file

    folder, out = Path(folder), Path(out)
    checkpoint = read_checkpoint(folder)
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise ConfigError(f"{folder} holds no adapter", hint="a whole model is shipped as it is")
    base = EMBEDDED_ID if checkpoint.base == EMBEDDED else checkpoint.base
    if checkpoint.parent is not None or Path(base).exists():
        raise ConfigError(
            f"{folder} lies on {checkpoint.base}, which is on this machine alone",
            hint="train it on 'embedded' or on a model of the hub",
        )
    out.mkdir(parents=True, exist_ok=True)
    weights = load_file(folder / ADAPTER_WEIGHTS)
    save_file({k: v.to(torch.bfloat16) for k, v in weights.items()}, out / ADAPTER_WEIGHTS)
    (out / ADAPTER_WEIGHTS).chmod(0o644)  # the library leaves it to its owner alone
    config = read_json(folder / ADAPTER_CONFIG) | {"base_model_name_or_path": base}
    write_whole(out / ADAPTER_CONFIG, json.dumps(config, indent=2) + "\n")
    shutil.copyfile(folder / SEEN_NAME, out / SEEN_NAME)
    log = [json.loads(line) for line in (folder / LOG_NAME).read_text("utf-8").splitlines()]
    write_checkpoint(out, _without_places(checkpoint), log)
    return out


def _without_places(checkpoint: Checkpoint) -> Checkpoint:
    settings = {k: v for k, v in checkpoint.settings.items() if k not in OWN_PLACES or not v}
    named = {
        "out": None,
        "model": checkpoint.base,
        "data": [Path(each).name for each in settings.get("data", ())],
    }
    return checkpoint.model_copy(update={"settings": settings | named})
