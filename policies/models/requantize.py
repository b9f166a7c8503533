"""Store a GGUF model's weights in another quantisation, perhaps with an adapter merged into them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .lora import LoraDeltas

KEPT = frozenset({"F32", "F16", "BF16"})
"""Tensor types that are copied as they are: norms, mostly."""


def requantize(
    source: Path,
    target: Path,
    to: str,
    progress: Callable[[int, int], None] = lambda *_: None,
    *,
    adapter: Path | None = None,
) -> None:
    """Write `source` as `target`, each quantised tensor stored as `to`.

    The values change by what the adapter adds and by the rounding of both formats. Metadata are
    kept, the file type aside.

    Args:
        to: a GGML type that the `gguf` library can write, such as `Q8_0` or `Q4_0`.
        progress: called with the number of tensors done and their total.
        adapter: folder of a LoRA adapter for a Llama.

    Raises:
        ValueError: `to` is not such a type, or the adapter is not for this model.
        DataError: an adapter that cannot be read.
    """
    import gguf

    kinds = {kind.name: kind for kind in gguf.GGMLQuantizationType}
    files = {kind.name.removeprefix("MOSTLY_"): kind for kind in gguf.LlamaFileType}
    if to not in kinds or to not in files:
        raise ValueError(f"no quantisation named {to!r}")
    reader = gguf.GGUFReader(source)
    architecture = reader.get_field(gguf.Keys.General.ARCHITECTURE)
    if architecture is None:
        raise ValueError(f"{source} names no architecture")
    writer = gguf.GGUFWriter(target, str(architecture.contents()))
    try:
        _copy_metadata(reader, writer, gguf)
        writer.add_file_type(files[to])
        added = None if adapter is None else _deltas(adapter, reader, str(architecture.contents()))
        for done, tensor in enumerate(reader.tensors, start=1):
            kind, data = tensor.tensor_type, tensor.data
            grown = added is not None and tensor.name in added.names
            if grown or (kind.name not in KEPT and kind is not kinds[to]):
                values = gguf.quants.dequantize(data, kind)
                if added is not None and grown:
                    values = values + added[tensor.name]
                data, kind = gguf.quants.quantize(values, kinds[to]), kinds[to]
            writer.add_tensor(tensor.name, data, raw_dtype=kind)
            progress(done, len(reader.tensors))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()


def _deltas(adapter: Path, reader: Any, architecture: str) -> LoraDeltas:
    """What an adapter adds to the tensors of a file."""
    if architecture != "llama":
        raise ValueError(f"adapters are merged into Llama models, not '{architecture}'")

    def count(key: str) -> int:
        return int(reader.get_field(f"llama.{key}").contents())

    heads = (count("attention.head_count"), count("attention.head_count_kv"))
    added = LoraDeltas(adapter, count("block_count"), heads)
    if missing := added.names - {tensor.name for tensor in reader.tensors}:
        raise ValueError(f"{adapter} changes {min(missing)}, which the model does not have")
    return added


def _copy_metadata(reader: Any, writer: Any, gguf: Any) -> None:
    own = (gguf.Keys.General.ARCHITECTURE, gguf.Keys.General.FILE_TYPE)
    for field in reader.fields.values():
        if field.name.startswith("GGUF.") or field.name in own:
            continue
        kind = field.types[0]
        inner = field.types[-1] if kind is gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(field.name, field.contents(), kind, sub_type=inner)
