"""A checkpoint as a model of its own: its adapter and all below it, added to the base weights."""

from __future__ import annotations

import shutil
from pathlib import Path

from ...core.errors import ConfigError, RunError
from ...environments.corpus.seen import SEEN_NAME
from ...policies.models.sources import find_source
from .checkpoint import CARD_NAME


def merge_checkpoint(folder: str | Path, out: str | Path) -> Path:
    """Write the merged model in float32 safetensors, with tokenizer and card; returns `out`.

    Raises:
        ConfigError: the folder is not an adapter, or `out` is not empty.
        RunError: the disk refuses.
    """
    from ...policies.models.loading import load

    out = Path(out)
    if out.is_dir() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty", hint="choose another folder for the merged model")
    source = find_source(folder, merge=True)
    if not source.merged:
        raise ConfigError(f"'{folder}' has no adapter to merge")
    loaded = load(source, device="cpu", dtype="float32")
    part = out.with_name(f"{out.name}.partial")  # a kill leaves no half of a model under its name
    try:
        shutil.rmtree(part, ignore_errors=True)
        loaded.model.save_pretrained(part)
        loaded.tokenizer.save_pretrained(part)
        for name in (CARD_NAME, SEEN_NAME):
            if (file := Path(folder) / name).is_file():
                shutil.copyfile(file, part / name)
        part.replace(out)
    except OSError as error:
        raise RunError(f"cannot write {out}: {error.strerror}") from error
    return out
