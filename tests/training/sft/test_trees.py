"""Training on trees: one step over all rows is the step over the same rows one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from warmline.core.errors import ConfigError
from warmline.training.loop.checkpoint import Checkpoint
from warmline.training.sft.train import train_sft

from ...policies.tiny_models import save_causal
from ..building import settings, varied, write_log

TALKS = 6


def step(place: Path, per: str, **given: Any) -> tuple[Checkpoint, dict[str, Any]]:
    model, data = place / "model", place / "talks"
    if not model.exists():
        save_causal(model)
        write_log(data, varied(TALKS))
    out = place / per
    made = train_sft(settings(model, data, out, per=per, max_steps=1, warmup=0.0, **given))
    return made.checkpoint, load_file(out / "adapter_model.safetensors")


def test_a_step_of_trees_is_the_step_of_their_rows(tmp_path: Path) -> None:
    same = {"validation_share": 0.4, "learning_rate": 1e-3}
    turns, one_by_one = step(tmp_path, "turn", batch_size=30, **same)
    trees, together = step(tmp_path, "tree", batch_size=2, accumulation=10, **same)
    assert trees.rows["train"] == turns.rows["train"] == 3 * trees.rows["trees"]
    assert trees.rows["validation"] == 3 * trees.rows["validation_trees"] > 0
    for name in ("train_loss_last", "validation_loss_before", "validation_loss"):
        assert trees.metrics[name] == pytest.approx(turns.metrics[name], rel=1e-5), name
    assert trees.metrics["validation_tokens"] == turns.metrics["validation_tokens"]
    moved = 0.0
    for name, weights in one_by_one.items():
        difference = (weights - together[name]).abs().max()
        assert difference < 1e-4, name
        moved = max(moved, float(weights.abs().max()) if "lora_B" in name else 0.0)
    assert moved >= 0.9e-3  # the step of Adam itself


def test_a_model_that_sees_a_window_is_refused(tmp_path: Path) -> None:
    model = save_causal(tmp_path / "mistral", kind="mistral")
    data = write_log(tmp_path / "talks", varied(3))
    given = settings(model, data, tmp_path / "out", per="tree", max_steps=1)
    with pytest.raises(ConfigError, match="per = 'tree' needs full attention"):
        train_sft(given)
