"""Real models for the tests of vLLM: SmolLM2 as safetensors, and LoRA adapters over it.

vLLM reads no GGUF file, so the embedded engine's weights are converted once and kept in Warmline's
cache, from the folder that trainings use: transformers needs 20 s of CPU to read the GGUF file.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from warmline.policies.models.weights import cache_dir

RANK, ALPHA = 4, 8
TARGETS = ("self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj")


def smollm() -> Path:
    """The folder of SmolLM2-135M-Instruct in bfloat16; made at the first call, in half a minute."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from warmline.training.loop.base_model import embedded_folder

    kept = cache_dir() / "tests" / "SmolLM2-135M-Instruct"
    if (kept / "config.json").is_file():
        return kept
    model = AutoModelForCausalLM.from_pretrained(embedded_folder(), dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(embedded_folder())
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as part:
        made = Path(part) / kept.name
        model.to(torch.bfloat16).save_pretrained(made)
        tokenizer.save_pretrained(made)
        made.replace(kept)
    return kept


def save_lora(folder: Path, base: Path, *, seed: int) -> Path:
    """A LoRA adapter with random weights on both sides, strong enough to change most answers."""
    import torch
    from safetensors.torch import save_file

    weights, random = {}, torch.Generator().manual_seed(seed)
    for name, (rows, columns) in _target_shapes(base).items():
        key = f"base_model.model.{name}"
        weights[f"{key}.lora_A.weight"] = 0.05 * torch.randn(RANK, columns, generator=random)
        weights[f"{key}.lora_B.weight"] = 0.05 * torch.randn(rows, RANK, generator=random)
    folder.mkdir(parents=True)
    save_file(weights, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": ALPHA,
        "lora_dropout": 0.0, "bias": "none", "base_model_name_or_path": str(base),
        "target_modules": [name.rpartition(".")[2] for name in TARGETS],
    }  # fmt: skip
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def _target_shapes(base: Path) -> dict[str, tuple[int, int]]:
    config = json.loads((base / "config.json").read_text())
    hidden, heads = config["hidden_size"], config["num_attention_heads"]
    key_values = hidden // heads * config["num_key_value_heads"]
    shapes = {
        TARGETS[0]: (hidden, hidden),
        TARGETS[1]: (key_values, hidden),
        TARGETS[2]: (hidden, config["intermediate_size"]),
    }
    return {
        f"model.layers.{layer}.{name}": shape
        for layer in range(config["num_hidden_layers"])
        for name, shape in shapes.items()
    }


def load(base: Path, adapter: Path | None = None) -> Any:
    """The model in transformers, float32, with the adapter added to its weights."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if adapter is not None:
        weights = load_file(adapter / "adapter_model.safetensors")
        parameters = dict(model.named_parameters())
        with torch.no_grad():
            for name in _target_shapes(base):
                key = f"base_model.model.{name}"
                change = weights[f"{key}.lora_B.weight"] @ weights[f"{key}.lora_A.weight"]
                parameters[f"{name}.weight"] += ALPHA / RANK * change
    return model


def logprobs(model: Any, prompt: list[int], given: list[int]) -> list[float]:
    """Log-probabilities of `given` behind `prompt`, from one forward pass."""
    import torch

    with torch.inference_mode():
        logits = model(torch.tensor([prompt + given])).logits[0, len(prompt) - 1 : -1]
        rows = torch.log_softmax(logits.float(), -1)
    return [float(rows[n, token]) for n, token in enumerate(given)]
