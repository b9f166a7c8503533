"""The model that is trained: base weights for a name, with a fresh adapter on top.

The name means what it means to the `transformers` policy; `embedded` is the model of the embedded
engine, whose GGUF weights are stored once more as safetensors, since those load in a second.
"""

from __future__ import annotations

import ctypes
import gc
import hashlib
import shutil
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.errors import ConfigError, MissingExtra, ModelNotFound
from ...policies.models.sources import EMBEDDED, find_source, identity
from ...policies.models.weights import cache_dir, find_weights
from ..rows.encode import RowEncoder
from .settings import LoraSettings

ATTENTION = frozenset(
    ["q_proj", "k_proj", "v_proj", "o_proj", "out_proj", "q", "k", "v", "o", "query", "key",
     "value", "qkv_proj", "query_key_value", "c_attn", "Wqkv",
     "q_lin", "k_lin", "v_lin", "out_lin"]
)  # fmt: skip
"""Names that models give the four layers of attention."""


@dataclass(frozen=True, slots=True)
class Base:
    """A model in memory, ready for an adapter.

    Attributes:
        named: what an adapter's configuration calls it: a folder, a GGUF file or a hub id.
        model, tokenizer: of transformers; nothing in the model is trained yet.
        identity: hashes of its weights, for records.
        arguments: what the model's forward pass takes.
        context: most tokens that it holds.
        pad: id that fills up rows.
    """

    named: str
    model: Any
    tokenizer: Any
    identity: dict[str, Any]
    arguments: frozenset[str]
    context: int
    pad: int


def base_name(model: str) -> str:
    """What `model` names, as a folder, file or hub id. Blocks while `embedded` is stored, once."""
    return str(embedded_folder()) if model == EMBEDDED else model


def load_base(
    model: str, *, dtype: str = "float32", attention: str | None = None, divided: bool = False
) -> Base:
    """Base weights, with the adapters that `model` names merged into them, on the CPU.

    Args:
        model: `embedded`, a folder, a GGUF file, a checkpoint or a hub id.
        dtype: float32, bfloat16 or float16.
        attention: an implementation that transformers knows; None leaves its own choice.
        divided: it is to be divided among processes (FSDP).

    Raises:
        MissingExtra: the libraries are not installed.
        ConfigError: an encoder-decoder cannot be divided.
        ModelNotFound, ConfigError, DataError: see `policies.hf.loading.load`.
    """
    try:
        from ...policies.models.loading import load, padding_token
    except ImportError as error:
        raise MissingExtra("training", extra="train") from error
    named = base_name(model)
    source = find_source(named, merge=True)
    loaded = load(source, device="cpu", dtype=dtype)
    if divided and loaded.model.config.is_encoder_decoder:
        raise ConfigError(
            f"fsdp cannot divide {named}: its encoder and decoder share weights",
            hint="leave --fsdp out; each process then holds the whole model",
        )
    if attention is not None:
        loaded.model.set_attn_implementation(attention)
    loaded.model.config.use_cache = False
    return Base(
        named,
        loaded.model,
        loaded.tokenizer,
        identity(source),
        loaded.arguments,
        loaded.context,
        padding_token(loaded.tokenizer, loaded.model),
    )


def free_memory() -> None:
    """Return the memory of models that are no longer used, between two stages of one process.

    The C library keeps what is free below any small block that is still in use: gigabytes, after a
    training. glibc gives it back to the system when it is asked to; others are not asked.
    """
    import torch

    gc.collect()
    if sys.platform == "linux" and hasattr(own := ctypes.CDLL(None), "malloc_trim"):
        own.malloc_trim(ctypes.c_size_t(0))
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def with_lora(
    model: Any, settings: LoraSettings, *, task: str | None = None, **options: Any
) -> Any:
    """The model with a fresh LoRA adapter, whose weights alone are trained, in float32.

    Args:
        task: PEFT's name of the task; by default language modelling.
        options: further ones of `peft.LoraConfig`, such as `modules_to_save`.

    Raises:
        ConfigError: the model has none of the layers that are to be adapted.
    """
    from peft import LoraConfig, get_peft_model

    default = "SEQ_2_SEQ_LM" if model.config.is_encoder_decoder else "CAUSAL_LM"
    config = LoraConfig(
        task_type=task or default,
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=lora_targets(model, settings.lora_targets),
        **options,
    )
    try:
        adapted = get_peft_model(model, config)
    except ValueError as error:
        raise ConfigError(
            f"no adapter fits: {error}", hint="name layers by lora_targets"
        ) from error
    # PEFT's card is blank, and most of the time of a small save; a checkpoint has one of ours
    adapted.create_or_update_model_card = lambda output_dir: None
    return adapted


def lora_targets(model: Any, asked: tuple[str, ...]) -> list[str] | str:
    """The layers to adapt, by the last part of their names; PEFT resolves `all-linear` itself."""
    if asked == ("all-linear",):
        return "all-linear"
    if asked != ("attention",):
        return list(asked)
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    found = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D)
    } & ATTENTION
    if not found:
        raise ConfigError(
            f"no layers of attention found in a {model.config.model_type} model",
            hint="name the layers to adapt by lora_targets, or take all-linear",
        )
    return sorted(found)


def embedded_folder() -> Path:
    """The embedded engine's weights as a model folder in the cache; made in about 20 s, once."""
    weights = find_weights()
    with weights.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()[:12]
    kept = cache_dir() / "weights" / f"{weights.stem}-{digest}"
    if not (kept / "config.json").is_file():
        _store(weights, kept)
    return kept


def _store(weights: Path, kept: Path) -> None:
    """Convert in a folder beside it and move that into place, so that no half one is ever seen."""
    try:
        from ...policies.models.loading import load
    except ImportError as error:
        raise MissingExtra("training", extra="train") from error
    loaded = load(find_source(weights), device="cpu", dtype="float32")
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="part-", dir=kept.parent) as part:
        made = Path(part) / "model"
        loaded.model.save_pretrained(made)
        loaded.tokenizer.save_pretrained(made)
        with suppress(OSError):  # another process was faster, with the same
            made.replace(kept)
    if not (kept / "config.json").is_file():
        shutil.rmtree(kept, ignore_errors=True)
        raise ConfigError(f"could not store the weights in {kept}", hint="is the disk full?")


def load_writer(model: str) -> tuple[RowEncoder, Any, int]:
    """What encodes rows for a model, its tokenizer and its context, without its weights.

    Raises:
        ModelNotFound: neither here nor on the hub.
    """
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    from ...policies.models.loading import NO_LIMIT

    source = find_source(base_name(model), merge=True)
    where: dict[str, Any] = {"trust_remote_code": False}  # None would ask on standard input
    if source.gguf:
        where["gguf_file"] = source.gguf
    source.ask_hub()
    try:
        config = AutoConfig.from_pretrained(source.base, **where)
        tokenizer = AutoTokenizer.from_pretrained(source.base, **where)
    except (OSError, ValueError, KeyError) as error:
        raise ModelNotFound(
            f"transformers finds no configuration and tokenizer in '{source.base}': {error}",
            hint="a folder or hub id with config.json and tokenizer, or a GGUF file",
        ) from error
    try:
        generation = GenerationConfig.from_pretrained(source.base)
    except OSError:  # the file is optional; what it says may stand in the configuration
        generation = GenerationConfig.from_model_config(config)
    context = getattr(config.get_text_config(), "max_position_embeddings", None) or NO_LIMIT
    return RowEncoder(tokenizer, config, generation), tokenizer, int(context)
