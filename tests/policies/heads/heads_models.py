"""Checkpoints with heads over tiny models, with random weights, for tests of the policies."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch


def save_heads(
    folder: Path,
    base: Path,
    heads: Mapping[str, tuple[str, ...]],
    *,
    kind: str,
    seed: int = 0,
) -> Path:
    """An adapter with heads, and the record that says so."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from warmline.policies.heads.network import HeadedModel

    torch.manual_seed(seed)
    model = HeadedModel(AutoModelForCausalLM.from_pretrained(base), sum(map(len, heads.values())))
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="SEQ_CLS")
    adapted = get_peft_model(model, config)
    with torch.no_grad():
        for name, weights in adapted.named_parameters():
            if "lora_" in name or "score" in name:
                weights.normal_(std=0.3)
    adapted.save_pretrained(folder)
    file = folder / "adapter_config.json"
    written = json.loads(file.read_text("utf-8"))
    file.write_text(json.dumps(written | {"base_model_name_or_path": str(base)}), "utf-8")
    record = {"version": 1, "kind": kind, "base": str(base), "heads": heads, "settings": {}}
    (folder / "checkpoint.json").write_text(json.dumps(record), "utf-8")
    return folder
