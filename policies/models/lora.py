"""What a LoRA adapter adds to GGUF weights, computed without torch.

An adapter on a layer W adds scale * B A, with scale = alpha / r (Hu et al. 2022, eq. 3 and §4.1).
Plain LoRA on the linear layers of a Llama is what is read here; everything else is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...core.errors import DataError
from ...core.files import read_json

if TYPE_CHECKING:
    import numpy as np

SHIPPED = Path(__file__).with_name("adapter")
"""The adapter of the embedded engine's default model, trained on the seed corpus for all four seats;
its card is `README.md` in there."""

WEIGHTS_NAME, CONFIG_NAME = "adapter_model.safetensors", "adapter_config.json"
MAX_HEADER_BYTES = 100_000_000

_PART = re.compile(r"base_model\.model\.(?P<layer>.+)\.lora_(?P<part>[AB])\.weight")
_PLAIN = {"peft_type": "LORA", "bias": "none"}
_VARIANTS = ("use_dora", "use_rslora", "modules_to_save", "rank_pattern", "alpha_pattern",
             "trainable_token_indices", "target_parameters", "fan_in_fan_out")  # fmt: skip


@cache
def adapter_digest(folder: Path) -> str:
    """SHA-256, in hex, of an adapter's weights and configuration."""
    digest = hashlib.sha256()
    for name in (CONFIG_NAME, WEIGHTS_NAME):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


class LoraDeltas:
    """What an adapter adds to each matrix of a Llama's GGUF file.

    Args:
        folder: with `adapter_config.json` and `adapter_model.safetensors`.
        layers: number of the model's layers.
        heads: of queries, and of keys and values; llama.cpp keeps the rows of both in another order.

    Raises:
        DataError: not plain LoRA, or a layer that a Llama does not have.
    """

    def __init__(self, folder: Path, layers: int, heads: tuple[int, int]) -> None:
        self._file = folder / WEIGHTS_NAME
        self._scale = _scale_of(folder / CONFIG_NAME)
        self._heads = {"attn_q": heads[0], "attn_k": heads[1]}
        self._parts: dict[str, dict[str, np.ndarray]] = {}
        names = _gguf_names(layers)
        for name, values in read_safetensors(self._file):
            found = _PART.fullmatch(name)
            layer = names(found["layer"]) if found else None
            if found is None or layer is None:
                raise DataError(f"'{name}' is no LoRA weight of a Llama", file=self._file)
            self._parts.setdefault(f"{layer}.weight", {})[found["part"]] = values
        if halves := [name for name, parts in self._parts.items() if set(parts) != {"A", "B"}]:
            raise DataError(f"one half of {halves[0]} is missing", file=self._file)

    @property
    def names(self) -> frozenset[str]:
        """Names of the tensors that it changes."""
        return frozenset(self._parts)

    def __getitem__(self, name: str) -> np.ndarray:
        """What is added to a tensor, `(out, in)`, in float32."""
        a, b = self._parts[name]["A"], self._parts[name]["B"]
        heads = self._heads.get(name.split(".")[-2])
        if heads is not None:
            b = b.reshape(heads, 2, -1, b.shape[-1]).swapaxes(1, 2).reshape(b.shape)
        delta: np.ndarray = (self._scale * b) @ a
        return delta


def _scale_of(file: Path) -> float:
    config = read_json(file)
    problems = [f"{k} is {config.get(k)!r}" for k, v in _PLAIN.items() if config.get(k) != v]
    problems += [f"{k} is set" for k in _VARIANTS if config.get(k)]
    if problems:
        raise DataError(f"not plain LoRA: {', '.join(problems)}", file=file)
    return float(config["lora_alpha"]) / int(config["r"])


def _gguf_names(layers: int) -> Any:
    import gguf

    return gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, layers).get_name


def read_safetensors(file: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Names and values, in float32, of the tensors in a safetensors file.

    The library of that name reads bfloat16 through torch alone, which the core does without.

    Raises:
        DataError: not such a file, or numbers that are not floats.
    """
    import numpy as np

    kinds: dict[str, Any] = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    try:
        if length > MAX_HEADER_BYTES:
            raise ValueError(f"a header of {length} bytes")
        header = json.loads(content[8 : 8 + length])
        header.pop("__metadata__", None)
        for name, about in header.items():
            begin, end = (8 + length + place for place in about["data_offsets"])
            stored = np.frombuffer(content[begin:end], np.dtype(kinds[about["dtype"]]))
            if about["dtype"] == "BF16":
                stored = (stored.astype(np.uint32) << 16).view(np.float32)
            yield name, stored.astype(np.float32).reshape(about["shape"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"cannot be read as safetensors: {error!r}", file=file) from error
