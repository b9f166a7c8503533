"""What the name of a model means: a folder, a GGUF file, a hub id, or adapters on top of one."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.errors import ConfigError, DataError, ModelNotFound, did_you_mean
from ...core.files import read_json
from .hub import ask_hub
from .weights import find_weights

EMBEDDED = "embedded"
"""The embedded engine's model, without the adapter that the engine merges into it."""
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_WEIGHTS = "adapter_model.safetensors"
MAX_CHAIN = 16

MAX_HEADER_BYTES = 100_000_000
"""Largest header of a safetensors file, as its format sets it."""

_LORA_WEIGHT = re.compile(r"\.lora_(embedding_)?[AB]\b")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
OUTPUT_FOLDERS = frozenset({"runs", "corpora", "checkpoints"})
"""Names that commands write under: what begins with one is a folder's path, not a hub id."""

_SAMPLES, _SAMPLE_BYTES = 64, 4096
_IDENTITY = ("config.json", "model.safetensors.index.json", "tokenizer.json", "chat_template.jinja")


@dataclass(frozen=True, slots=True)
class Source:
    """Where weights come from.

    Attributes:
        base: a folder, or an id on the Hugging Face hub.
        gguf: name of the GGUF file within `base`.
        revision: branch, tag or commit on the hub.
        merged: adapter folders whose weights are added to a separate copy of the base, in this
            order.
        adapter: a LoRA folder that is attached to the base, which other policies may then share.
    """

    base: str
    gguf: str | None = None
    revision: str | None = None
    merged: tuple[str, ...] = ()
    adapter: str | None = None

    @property
    def shown(self) -> str:
        """A short name for records: the last part of what was loaded last."""
        last = (self.adapter or (self.merged[-1:] or (self.gguf or self.base,))[0]).rstrip("/")
        return Path(last).name

    @property
    def hub_id(self) -> str | None:
        """The id of the base on the hub; None where it lies in a folder."""
        return None if self.gguf or Path(self.base).is_dir() else self.base

    def ask_hub(self) -> None:
        """Find out whether the hub has the base, where it lies in no folder; see `hub.ask_hub`.

        Raises:
            ModelNotFound: the hub cannot be reached, or knows no such model or revision.
        """
        if self.hub_id is not None:
            ask_hub(self.hub_id, revision=self.revision)

    @property
    def folders(self) -> tuple[str, ...]:
        """Where its weights lie on this machine, the base first; a hub id is in none."""
        base = (self.base,) if Path(self.base).is_dir() else ()
        return (*base, *self.merged, *((self.adapter,) if self.adapter else ()))


class OpenWeights:
    """A policy of weights that lie on this machine."""

    @property
    def _source(self) -> Source:
        raise NotImplementedError

    @property
    def model_folders(self) -> tuple[str, ...]:
        """See `policies.base.model_folders`."""
        return self._source.folders


def find_source(
    model: str | Path,
    *,
    adapter: str | Path | None = None,
    revision: str | None = None,
    merge: bool = False,
) -> Source:
    """What to load for a model's name. Reads small files only; GGUF files on the hub are fetched.

    An adapter folder stands for its base model with the adapter on top; the base may itself be an
    adapter folder. All adapters but the last are merged, and the last too unless it is plain LoRA.

    Args:
        model: a folder, a `.gguf` file, `owner/repository:file.gguf`, an adapter folder, a hub id,
            or `embedded`, the embedded engine's own.
        adapter: an adapter folder or hub id to attach to it.
        revision: branch, tag or commit of the base on the hub.
        merge: merge the last adapter too.

    Raises:
        ModelNotFound: no such folder or file.
        ConfigError, DataError: an adapter that cannot be used.
    """
    chain = [] if adapter is None else [_adapter_folder(adapter)]
    named = str(model)
    while (folder := _local(named)) is not None and (folder / ADAPTER_CONFIG).is_file():
        if str(folder) in chain or len(chain) >= MAX_CHAIN:
            raise ConfigError(f"the adapters {' on '.join([*chain, str(folder)])} have no base")
        chain.append(_adapter_folder(folder))
        named = _base_of(folder)
    base, gguf = _base(named)
    chain.reverse()
    if chain and not merge and is_plain_lora(Path(chain[-1])):
        return Source(base, gguf, revision, tuple(chain[:-1]), chain[-1])
    return Source(base, gguf, revision, tuple(chain))


def is_plain_lora(folder: Path) -> bool:
    """Whether an adapter can be attached to a base that other policies use at the same time.

    Its file counts, not its configuration alone: weights that are not LoRA's (an output layer, an
    embedding, a bias) take the place of the base's own, for everybody who uses it.
    """
    config = _adapter_config(folder)
    variants = ("use_dora", "modules_to_save", "trainable_token_indices", "target_parameters")
    if config.get("peft_type") != "LORA" or any(config.get(key) for key in variants):
        return False
    return all(map(_LORA_WEIGHT.search, weight_names(folder / ADAPTER_WEIGHTS)))


def weight_names(file: Path) -> list[str]:
    """The names of the weights in a safetensors file.

    Raises:
        DataError: not such a file.
    """
    try:
        with file.open("rb") as content:
            length = int.from_bytes(content.read(8), "little")
            header = json.loads(content.read(length) if length < MAX_HEADER_BYTES else b"")
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read as safetensors: {error}", file=file) from error
    if not isinstance(header, dict):
        raise DataError("cannot be read as safetensors: its header is no object", file=file)
    return [name for name in header if name != "__metadata__"]


def identity(source: Source) -> dict[str, Any]:
    """What identifies the weights in a record: names, and a hash of each local folder or file.

    Configuration files and adapters are hashed whole. Of large weight files the size and 256 KiB,
    read at 64 evenly spaced places, enter: a retrained model differs in practically all of them.
    """
    found: dict[str, Any] = {"model": Path(source.gguf or source.base).name}
    if source.gguf:
        found["sha256"] = _hash([Path(source.base) / source.gguf])
    elif (folder := _local(source.base)) is not None:
        found["sha256"] = _hash(_identity_files(folder))
    else:
        found |= {"model": source.base, "revision": source.revision}
    adapters = [*source.merged, *([source.adapter] if source.adapter else [])]
    if adapters:
        found["adapters"] = [
            {"name": Path(folder).name, "sha256": _hash(_identity_files(Path(folder)))}
            for folder in adapters
        ]
        found["merged"] = source.adapter is None
    return found


def _local(named: str) -> Path | None:
    path = Path(named).expanduser()
    return path.resolve() if path.exists() else None


def _base(named: str) -> tuple[str, str | None]:
    """Folder or hub id, and the GGUF file in it."""
    if named == EMBEDDED and _local(named) is None:
        named = str(find_weights())
    if named.endswith(".gguf"):
        file = find_weights(Path(named).expanduser() if _local(named) else named).resolve()
        return str(file.parent), file.name
    if (path := _local(named)) is not None:
        return _base_folder(path)
    if _HUB_ID.fullmatch(named):
        _refuse_mistyped(named)
        return named, None
    raise ModelNotFound(
        f"no model at '{named}'",
        hint="give a folder with config.json, a .gguf file, an adapter folder, or an id such as"
        " 'owner/model' on the Hugging Face hub",
    )


def _refuse_mistyped(named: str) -> None:
    """Raise for a name that must mean a folder, since it begins with one; no hub is asked.

    Raises:
        ModelNotFound: no such folder, and no such model in the hub's local cache.
    """
    parent, _, name = named.partition("/")
    if not name or not (Path(parent).is_dir() or parent in OUTPUT_FOLDERS):
        return
    from huggingface_hub import try_to_load_from_cache

    files = ("config.json", ADAPTER_CONFIG)
    if any(isinstance(try_to_load_from_cache(named, file), str) for file in files):
        return
    there = [p.name for p in Path(parent).iterdir()] if Path(parent).is_dir() else []
    raise ModelNotFound(
        f"no folder '{named}'",
        hint=did_you_mean(name, there)
        or (f"'{parent}' holds: {', '.join(sorted(there)[:5])}" if there else None)
        or f"there is no folder '{parent}' here; check the path",
    )


def _base_folder(path: Path) -> tuple[str, str | None]:
    if not path.is_dir():
        raise ModelNotFound(
            f"'{path}' is not a model", hint="give its folder, or a file whose name ends in .gguf"
        )
    if (path / "config.json").is_file():
        return str(path), None
    ggufs = sorted(file.name for file in path.glob("*.gguf"))
    if len(ggufs) == 1:
        return str(path), ggufs[0]
    holds = f"several GGUF files: {', '.join(ggufs)}" if ggufs else "neither config.json nor .gguf"
    raise ModelNotFound(f"the folder '{path}' holds {holds}", hint="name the file")


def _adapter_folder(named: str | Path) -> str:
    folder = _local(str(named)) or _adapter_from_hub(str(named))
    if not (folder / ADAPTER_CONFIG).is_file():
        raise ModelNotFound(f"'{folder}' is not an adapter: it has no {ADAPTER_CONFIG}")
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise ModelNotFound(
            f"the adapter '{folder}' has no {ADAPTER_WEIGHTS}",
            hint="save it with safe_serialization=True; other formats can run code when loaded",
        )
    config = _adapter_config(folder)
    if config.get("num_virtual_tokens"):
        raise ConfigError(
            f"the adapter '{folder}' is prompt tuning ({config.get('peft_type')}), which cannot be"
            " computed in one batch with other requests",
            hint="LoRA and other adapters of weights can",
        )
    return str(folder)


def _adapter_from_hub(named: str) -> Path:
    if not _HUB_ID.fullmatch(named):
        raise ModelNotFound(f"no adapter at '{named}'")
    _refuse_mistyped(named)
    ask_hub(named, file=ADAPTER_CONFIG)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(named, allow_patterns=["*.json", "*.safetensors"]))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError) as error:
        raise ModelNotFound(f"no folder '{named}', and the hub says: {error}") from error


def _adapter_config(folder: Path) -> dict[str, Any]:
    file = folder / ADAPTER_CONFIG
    config = read_json(file)
    if not isinstance(config, dict):
        raise DataError("not a JSON object", file=file)
    return config


def _base_of(folder: Path) -> str:
    """The base model that an adapter names; a relative path may start at the adapter's folder."""
    named = _adapter_config(folder).get("base_model_name_or_path")
    if not isinstance(named, str) or not named:
        raise DataError(
            "names no base model",
            file=folder / ADAPTER_CONFIG,
            field="base_model_name_or_path",
            hint="give the base as `model` and this folder as `adapter`",
        )
    beside = folder / named
    return str(beside) if beside.exists() else named


def _identity_files(folder: Path) -> list[Path]:
    names = {*_IDENTITY, ADAPTER_CONFIG}
    named = [file for file in folder.iterdir() if file.name in names]
    return sorted(named) + sorted(folder.glob("*.safetensors"))


def _hash(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name} {size} ".encode())
        with file.open("rb") as content:
            if size <= 32 * 1024 * 1024:
                digest.update(content.read())
                continue
            for sample in range(_SAMPLES):
                content.seek(sample * (size - _SAMPLE_BYTES) // (_SAMPLES - 1))
                digest.update(content.read(_SAMPLE_BYTES))
    return digest.hexdigest()
