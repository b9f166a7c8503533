"""Weights into memory: one function for every kind of source, and the model it gives."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    DynamicCache,
    GenerationConfig,
)
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from ...core.errors import ConfigError, EngineUnavailable, MissingExtra, ModelNotFound
from ..base import Sampling
from .quiet import quietly
from .sources import ADAPTER_WEIGHTS, Source, is_plain_lora

MISFITS = (ValueError, RuntimeError, KeyError, SafetensorError)
"""What PEFT raises where adapter and model do not belong together, or a file is cut off."""

BASE = "__base__"
"""What PEFT calls a row without adapter."""

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_LONG = "sequence-length-is-longer-than-the-specified-maximum"
NO_LIMIT = 1 << 20
"""Context of models that state none: tokenizers say 1e30."""


def find_device(asked: str) -> str:
    """The device asked for; `auto` is `cuda` if available, otherwise `cpu`.

    Raises:
        ConfigError: no such device here.
    """
    if asked == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise ConfigError(f"'{asked}' is not a device", hint="auto, cpu, cuda or cuda:1") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device '{asked}' was asked for, but torch sees {torch.cuda.device_count()} of CUDA",
            hint="device='auto' uses a GPU if available",
        )
    return asked


def find_dtype(asked: str, device: str) -> str:
    """The number format: as asked; `auto` is bfloat16 where the hardware multiplies it fast.

    On a CPU that is AMX or AVX-512 BF16; with plain AVX-512 or AVX2 float32 is faster.
    """
    if asked != "auto":
        return asked
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    capable = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    fast = capable.get("amx_bf16") or capable.get("avx512_bf16")
    return "bfloat16" if device == "cpu" and fast else "float32"


@dataclass(slots=True)
class LoadedModel:
    """A model in memory. Belongs to the thread that computes with it.

    Attributes:
        model: as loaded, adapters merged.
        tokenizer: a tokenizer of transformers.
        name: for messages.
        context: maximum number of tokens in prompt and answer together.
        defaults: sampling settings that the model's authors recommend.
        layers: number of decoder layers.
        windows: for each kind of attention layer its window in tokens, or None for full attention.
        arguments: arguments that the model's forward pass accepts.
        adapters: names of the LoRA adapters attached at the moment, by folder.
        peft: the model with its adapters, while there are any.
    """

    model: Any
    tokenizer: Any
    name: str
    context: int
    defaults: Sampling
    layers: int
    windows: dict[str, int | None]
    arguments: frozenset[str]
    adapters: dict[str, str] = field(default_factory=dict)
    peft: Any = None

    @property
    def is_encoder_decoder(self) -> bool:
        return bool(self.model.config.is_encoder_decoder)

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.device
        return device

    @property
    def dtype(self) -> str:
        """Its number format, by its name in `DTYPES`."""
        return str(self.model.dtype).removeprefix("torch.")

    @property
    def vocabulary(self) -> int:
        """Number of token ids that the model gives a probability."""
        return int(self.model.config.get_text_config().vocab_size)

    def forward(self, adapters: Sequence[str], **inputs: Any) -> Any:
        """One pass of the network; `adapters` names one for each row, `BASE` for none."""
        if self.peft is None:
            return self.model(**inputs)
        return self.peft(adapter_names=list(adapters), **inputs)

    @quietly()
    def add_adapter(self, folder: str) -> str:
        """Attach a plain LoRA adapter to the model; returns the name for `forward`.

        Raises:
            ConfigError: it does not fit, or would change the model for other rows too.
        """
        if folder in self.adapters:
            return self.adapters[folder]
        if not is_plain_lora(Path(folder)):
            raise ConfigError(
                f"the adapter '{folder}' holds more than plain LoRA, which would change the model for"
                " everybody who shares it",
                hint="merge it into a copy of its own (merge_adapter)",
            )
        from peft import PeftConfig, get_peft_model

        # numbered, because PEFT takes no dots in names, and folders of one name may differ
        taken = {int(name.removeprefix("lora")) for name in self.adapters.values()}
        name = f"lora{next(n for n in range(len(taken) + 1) if n not in taken)}"
        try:
            with safe_open(Path(folder) / ADAPTER_WEIGHTS, framework="pt"):
                pass  # raises for a file that is cut off, before PEFT changes the model's layers
            if self.peft is None:
                # layers before weights, so that both can be taken off again
                config = PeftConfig.from_pretrained(folder)
                config.base_model_name_or_path = self.model.name_or_path
                plain = {"adapter_name": name, "autocast_adapter_dtype": False}
                self.peft = get_peft_model(self.model, config, **plain)
            self.adapters[folder] = name
            self.peft.load_adapter(folder, name, autocast_adapter_dtype=False)
            check_all_weights_used(self.peft, name, folder)
        except MISFITS as error:
            self.remove_adapter(folder)
            raise misfit(folder, self.name, error) from error
        self.peft.eval().requires_grad_(False)
        return name

    def remove_adapter(self, folder: str) -> None:
        """Detach an adapter."""
        name = self.adapters.pop(folder, None)
        if name is None:
            return
        if self.adapters:
            self.peft.set_adapter(next(iter(self.adapters.values())))
            if name in self.peft.peft_config:
                self.peft.delete_adapter(name)
        else:
            self.model = self.peft.unload()
            self.peft = None


def padding_token(tokenizer: Any, model: Any) -> int:
    """The id that fills up rows: the tokenizer's, or 0 where it has none that the model knows.

    Masks and labels leave filled places out, so that any known token will do.
    """
    pad = tokenizer.pad_token_id
    known = model.get_input_embeddings().weight.shape[0]
    return pad if pad is not None and pad < known else 0


@quietly()
def load(
    source: Source, *, device: str, dtype: str, context_tokens: int | None = None
) -> LoadedModel:
    """Read the weights of a source, without the adapter that is attached later.

    Safetensors and GGUF only, and no code from model repositories: both other ways can run code.

    Args:
        device: a torch device.
        dtype: a name in `DTYPES`.
        context_tokens: maximum number of tokens in prompt and answer; None is the model's own
            limit.

    Raises:
        ModelNotFound: neither here nor on the hub, or not in a safe format.
        ConfigError: a model or adapter of a kind that cannot be used.
        MissingExtra: libraries are missing.
    """
    where: dict[str, Any] = {"trust_remote_code": False}  # None would ask on standard input
    where |= {"gguf_file": source.gguf} if source.gguf else {}
    where |= {"revision": source.revision} if source.revision else {}
    source.ask_hub()
    try:
        config = AutoConfig.from_pretrained(source.base, **where)
        tokenizer = AutoTokenizer.from_pretrained(source.base, **where)
        # too long a prompt is our error, not its hint
        tokenizer.deprecation_warnings[_LONG] = True
        model = _weights(source, config, where, DTYPES[dtype])
    except (OSError, ValueError, KeyError) as error:
        raise ModelNotFound(
            f"transformers cannot load '{source.base}': {error}",
            hint="a folder or hub id with config.json, tokenizer and safetensors weights, or a GGUF"
            " file of a kind that transformers reads",
        ) from error
    except ImportError as error:
        raise MissingExtra(f"loading '{source.shown}' ({error})", extra="transformers") from error
    for folder in source.merged:
        model = _merged(model, folder)
    model = model.to(device).eval().requires_grad_(False)
    windows, layers = (
        ({}, 0) if config.is_encoder_decoder else _attention(model.config, source.shown)
    )
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        name=source.shown,
        context=_context(model.config, tokenizer, context_tokens),
        defaults=_defaults(model.generation_config),
        layers=layers,
        windows=windows,
        arguments=frozenset(inspect.signature(model.forward).parameters),
    )


def _weights(source: Source, config: Any, where: dict[str, Any], dtype: torch.dtype) -> Any:
    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    if source.gguf:
        from transformers import GgufConfig

        # stated, so that the weights are plain numbers afterwards and adapters fit
        where = where | {"quantization_config": GgufConfig(dequantize=True)}
    else:
        where = where | {"use_safetensors": True}
    return kind.from_pretrained(source.base, dtype=dtype, **where)


def _merged(model: Any, folder: str) -> Any:
    from peft import PeftModel

    try:
        adapted = PeftModel.from_pretrained(model, folder)
        check_all_weights_used(adapted, "default", folder)
        return adapted.merge_and_unload(safe_merge=True)
    except (*MISFITS, AttributeError) as error:
        raise misfit(folder, model.config.model_type, error) from error


def check_all_weights_used(peft: Any, adapter: str, folder: str) -> None:
    """PEFT only warns where an adapter's weights and the model's layers do not match.

    Raises:
        ValueError: they do not.
    """
    from peft import get_peft_model_state_dict

    expected = set(
        get_peft_model_state_dict(peft, adapter_name=adapter, save_embedding_layers=False)
    )
    with safe_open(Path(folder) / ADAPTER_WEIGHTS, framework="pt") as file:
        given = set(file.keys())
    # what is no adapter's weight takes the place of one of the model's own
    odd = sorted((expected - given) | (given - expected - set(peft.state_dict())))
    if odd:
        raise ValueError(f"{len(odd)} weights have no counterpart, such as {odd[0]}")


def misfit(folder: str, model: str, error: Exception) -> ConfigError:
    """The error of an adapter that does not belong to a model."""
    fault = f"its file has no weight {error}" if isinstance(error, KeyError) else str(error)
    return ConfigError(
        f"the adapter '{folder}' cannot be attached to '{model}': {fault}",
        hint="an adapter fits only the base model that it was trained on",
    )


def _attention(config: Any, name: str) -> tuple[dict[str, int | None], int]:
    """The windows of the decoder's kinds of layers, and the number of layers.

    Raises:
        ConfigError: the model keeps a state other than keys and values.
    """
    text = config.get_text_config(decoder=True)
    layers = DynamicCache(config=config).layers
    others = {type(layer).__name__ for layer in layers} - {
        DynamicLayer.__name__,
        DynamicSlidingWindowLayer.__name__,
    }
    kinds = list(getattr(text, "layer_types", None) or [])
    others |= set(kinds) - {"full_attention", "sliding_attention"}
    if others:
        raise ConfigError(
            f"'{name}' ({config.model_type}) keeps a state that this policy cannot batch:"
            f" {', '.join(sorted(others))}",
            hint="serve it with vLLM and use the `openai` policy",
        )
    window = next((layer.sliding_window for layer in layers if layer.is_sliding), None)
    named = {kind: window if kind == "sliding_attention" else None for kind in kinds}
    return named or {"all": window}, len(layers)


def _context(config: Any, tokenizer: Any, asked: int | None) -> int:
    text = config.get_text_config()
    limits = [
        getattr(text, "max_position_embeddings", None),
        getattr(text, "n_positions", None) if config.model_type != "t5" else None,
    ]
    stated = [limit for limit in limits if limit]
    if not stated and tokenizer.model_max_length < NO_LIMIT:
        stated = [tokenizer.model_max_length]
    limit = min(stated, default=NO_LIMIT)
    if asked is not None and asked > limit:
        raise ConfigError(f"context_tokens = {asked}, but the model holds only {limit}")
    steady = _steady_context(text)
    if steady is None or steady >= min(asked or limit, limit):
        return int(asked or limit)
    fault = (
        f"beyond {steady} tokens this {config.model_type} model turns all rows of a batch otherwise"
        " as soon as one of them is longer, so that answers would depend on their neighbours"
    )
    if asked is not None:
        raise ConfigError(
            f"context_tokens = {asked}: {fault}",
            hint=f"at most {steady}; vLLM, which turns by its own limit alone, holds more",
        )
    warnings.warn(f"{fault}; prompt and answer have {steady} tokens, not {limit}", stacklevel=2)
    return steady


def _steady_context(text: Any) -> int | None:
    """Tokens up to which positions are turned alike whatever else is in the batch; None for any.

    LongRoPE and dynamic NTK choose their frequencies by the longest row of a pass (transformers'
    `modeling_rope_utils.dynamic_rope_update`).
    """
    given = getattr(text, "rope_parameters", None) or getattr(text, "rope_scaling", None) or {}
    kinds = [given, *(kind for kind in given.values() if isinstance(kind, dict))]
    found = [
        kind.get("original_max_position_embeddings")
        or getattr(text, "original_max_position_embeddings", None)
        or text.max_position_embeddings
        for kind in kinds
        if kind.get("rope_type", kind.get("type")) in ("longrope", "dynamic")
    ]
    return int(min(found)) if found else None


def _defaults(config: GenerationConfig) -> Sampling:
    """The settings in the model's `generation_config.json`; greedy if it switches sampling off."""
    if config.do_sample is False:
        return Sampling(temperature=0.0, repetition_penalty=config.repetition_penalty)
    return Sampling(
        temperature=config.temperature,
        top_p=config.top_p,
        top_k=config.top_k,
        min_p=config.min_p,
        repetition_penalty=config.repetition_penalty,
    )


def token_budget(model: LoadedModel, gigabytes: float | None) -> int:
    """Tokens whose keys and values fit into this memory; None is 2 GB, or half of a free GPU."""
    if gigabytes is not None:
        n_bytes = gigabytes * 1e9
    elif model.device.type == "cuda":
        n_bytes = torch.cuda.mem_get_info(model.device)[0] / 2
    else:
        n_bytes = 2e9
    cache = DynamicCache(config=model.model.config)
    with torch.inference_mode():
        probe = torch.zeros(1, 1, dtype=torch.long, device=model.device)
        model.model(input_ids=probe, past_key_values=cache, use_cache=True)
    each = sum(layer.keys.nbytes + layer.values.nbytes for layer in cache.layers)
    budget = int(n_bytes // each)
    if budget < 1:
        raise EngineUnavailable(
            f"no memory is left for keys and values on {model.device}",
            hint="use a smaller model or dtype, or free the device",
        )
    return budget
