"""An adapter in GGUF weights: W + scale * B A, as PEFT merges it, to the error of the rounding."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from transformers.modeling_gguf_pytorch_utils import LlamaTensorProcessor

from warmline.core.errors import DataError
from warmline.policies.models.lora import LoraDeltas, adapter_digest, read_safetensors
from warmline.policies.models.requantize import requantize

from ..tiny_models import save_causal, save_lora

LAYERS, HEADS, KV_HEADS = 2, 4, 2
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}  # fmt: skip


def in_llama_cpp(name: str, weights: np.ndarray) -> np.ndarray:
    """The order of rows in which llama.cpp's converter stores queries and keys."""
    heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(name)
    if heads is None:
        return weights
    split = weights.reshape(heads, 2, weights.shape[0] // heads // 2, -1)
    return np.ascontiguousarray(split.transpose(0, 2, 1, 3).reshape(weights.shape))


def as_gguf(model: Any, path: Path, kind: str = "Q4_1") -> Path:
    """A tiny Llama as a GGUF file; its norms stay floats."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_1)
    writer.add_block_count(LAYERS)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    to = gguf.GGMLQuantizationType[kind]
    for layer, block in enumerate(model.model.layers):
        for theirs, name in NAMES.items():
            weights = block.get_submodule(theirs).weight.detach().numpy()
            stored = gguf.quants.quantize(in_llama_cpp(name, weights), to)
            writer.add_tensor(f"blk.{layer}.{name}.weight", stored, raw_dtype=to)
        writer.add_tensor(
            f"blk.{layer}.attn_norm.weight", block.input_layernorm.weight.detach().numpy()
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def values(path: Path) -> dict[str, np.ndarray]:
    return {
        t.name: gguf.quants.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(path).tensors
    }


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return save_causal(tmp_path / "base")


@pytest.fixture
def adapter(tmp_path: Path, base: Path) -> Path:
    folder = save_lora(tmp_path / "adapter", base, seed=3)
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(3)
    config = LoraConfig(r=4, lora_alpha=12, target_modules=TARGETS)
    adapted = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    with torch.no_grad():
        for name, weights in adapted.named_parameters():
            if "lora_" in name:
                weights.normal_(std=0.3)
    adapted.save_pretrained(folder)
    return folder


def merged_by_peft(base: Path, adapter: Path) -> Any:
    from peft import PeftModel

    model = AutoModelForCausalLM.from_pretrained(base)
    return PeftModel.from_pretrained(model, adapter).merge_and_unload()


def test_the_merged_file_is_what_peft_merges(tmp_path: Path, base: Path, adapter: Path) -> None:
    """Rows are put back by transformers' reader of GGUF files, which this code does not share."""
    plain = as_gguf(AutoModelForCausalLM.from_pretrained(base), tmp_path / "plain.gguf", "Q8_0")
    requantize(plain, tmp_path / "merged.gguf", "Q8_0", adapter=adapter)
    found, expected = values(tmp_path / "merged.gguf"), merged_by_peft(base, adapter)
    before = values(plain)
    put_back = LlamaTensorProcessor()._reverse_permute_weights
    for layer, block in enumerate(expected.model.layers):
        for theirs, name in NAMES.items():
            stored = found[f"blk.{layer}.{name}.weight"]
            if name in ("attn_q", "attn_k"):
                stored = put_back(stored, HEADS, HEADS if name == "attn_q" else KV_HEADS)
            weights = block.get_submodule(theirs).weight.detach().numpy()
            # twice rounded to a 254th of a block's span
            np.testing.assert_allclose(stored, weights, atol=2 * np.abs(weights).max() / 200)
            assert (
                np.abs(
                    found[f"blk.{layer}.{name}.weight"] - before[f"blk.{layer}.{name}.weight"]
                ).max()
                > 0.1
            )
        norm = f"blk.{layer}.attn_norm.weight"
        assert np.array_equal(found[norm], before[norm])


def test_what_an_adapter_adds_is_scale_times_b_a(base: Path, adapter: Path) -> None:
    deltas = LoraDeltas(adapter, LAYERS, (HEADS, KV_HEADS))
    assert len(deltas.names) == LAYERS * len(TARGETS)
    weights = load_file(adapter / "adapter_model.safetensors")
    stem = "base_model.model.model.layers.1.mlp.up_proj.lora_"
    a, b = (weights[f"{stem}{part}.weight"].numpy() for part in "AB")
    np.testing.assert_allclose(deltas["blk.1.ffn_up.weight"], 12 / 4 * b @ a, rtol=1e-5)


def test_without_an_adapter_the_file_is_the_same(tmp_path: Path, base: Path) -> None:
    source = as_gguf(AutoModelForCausalLM.from_pretrained(base), tmp_path / "plain.gguf")
    requantize(source, tmp_path / "a.gguf", "Q8_0")
    requantize(source, tmp_path / "b.gguf", "Q8_0", adapter=None)
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_safetensors_are_read_as_their_library_does(tmp_path: Path, dtype: Any) -> None:
    weights = {"a": torch.randn(3, 5).to(dtype), "b": torch.randn(7).to(dtype)}
    save_file(weights, tmp_path / "x.safetensors", metadata={"format": "pt"})
    read = dict(read_safetensors(tmp_path / "x.safetensors"))
    assert read.keys() == weights.keys()
    for name, stored in weights.items():
        assert np.array_equal(read[name], stored.float().numpy())


def edit(adapter: Path, **changed: Any) -> None:
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"use_rslora": True}, "use_rslora is set"),
        ({"use_dora": True}, "use_dora is set"),
        ({"rank_pattern": {"q_proj": 2}}, "rank_pattern is set"),
        ({"peft_type": "IA3"}, "peft_type is 'IA3'"),
    ],
)
def test_other_adapters_are_refused(adapter: Path, changed: dict[str, Any], message: str) -> None:
    edit(adapter, **changed)
    with pytest.raises(DataError, match=f"not plain LoRA: {message}"):
        LoraDeltas(adapter, LAYERS, (HEADS, KV_HEADS))


def test_an_adapter_of_another_model_is_refused(tmp_path: Path, base: Path, adapter: Path) -> None:
    source = as_gguf(AutoModelForCausalLM.from_pretrained(base), tmp_path / "plain.gguf")
    file = adapter / "adapter_model.safetensors"
    weights = load_file(file)
    more = {
        k.replace("layers.0", "layers.9"): v.clone() for k, v in weights.items() if "layers.0" in k
    }
    save_file(weights | more, file)
    with pytest.raises(DataError, match=r"layers\.9.* is no LoRA weight of a Llama"):
        requantize(source, tmp_path / "no.gguf", "Q8_0", adapter=adapter)
    save_file({k: v for k, v in weights.items() if "lora_A" in k}, file)
    with pytest.raises(DataError, match="one half of"):
        requantize(source, tmp_path / "no.gguf", "Q8_0", adapter=adapter)
    file.write_bytes(b"not safetensors at all")
    with pytest.raises(DataError, match="cannot be read as safetensors"):
        requantize(source, tmp_path / "no.gguf", "Q8_0", adapter=adapter)


def test_the_digest_is_of_weights_and_scale(adapter: Path) -> None:
    before = adapter_digest.__wrapped__(adapter)
    edit(adapter, lora_alpha=13)
    assert adapter_digest.__wrapped__(adapter) != before
