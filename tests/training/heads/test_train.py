"""The loop of heads: resume, accumulation, gradient checkpointing, several heads beside each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from warmline.training.counselor.data import HEADS, counselor_turns
from warmline.training.counselor.train import head_rows, train_counselor
from warmline.training.heads import train as classifier
from warmline.training.heads.data import encode_heads
from warmline.training.heads.train import make_trainer, reader_of
from warmline.training.loop.base_model import load_base
from warmline.training.loop.loop import last_save

from ...policies.tiny_models import save_causal
from ..building import CHATML, write_log
from ..counselor.test_train import separable, settings
from ..sft.test_train import KillAt, Killed


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal(tmp_path_factory.mktemp("causal") / "model", chat_template=CHATML)


def logged(trainer: Any) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def trained(causal: Path, out: Path, **changed: Any) -> tuple[list[float], torch.Tensor]:
    """Losses of a few steps, and the head's weights."""
    chosen = settings(causal, out, out, max_steps=3, learning_rate=1e-3, **changed)
    base = load_base(str(causal))
    rows, _ = encode_heads(reader_of(base, chosen), head_rows(counselor_turns(separable(12))[0]))
    trainer = make_trainer(base, rows, [], out, chosen, HEADS, seed=0)
    trainer.args.logging_steps = trainer.state.logging_steps = 1
    trainer.args.save_strategy = "no"
    trainer.train()
    weights = next(
        p for n, p in trainer.model.named_parameters() if "score" in n and p.requires_grad
    )
    return logged(trainer), weights.detach().clone()


def test_accumulation_equals_a_large_batch(causal: Path, tmp_path: Path) -> None:
    whole, weights = trained(causal, tmp_path / "a", batch_size=4)
    parts, same = trained(causal, tmp_path / "b", batch_size=1, accumulation=4)
    assert parts == pytest.approx(whole, rel=1e-3)
    assert torch.allclose(weights, same, atol=2e-4)


def test_gradient_checkpointing_changes_no_loss(causal: Path, tmp_path: Path) -> None:
    whole, weights = trained(causal, tmp_path / "a")
    spared, same = trained(causal, tmp_path / "b", gradient_checkpointing=True)
    assert spared == pytest.approx(whole, rel=1e-4)
    assert torch.allclose(weights, same, atol=1e-4)


def test_the_head_has_a_rate_of_its_own(causal: Path, tmp_path: Path) -> None:
    chosen = settings(causal, tmp_path, tmp_path / "o", learning_rate=1e-5, head_learning_rate=0.5)
    base = load_base(str(causal))
    rows, _ = encode_heads(reader_of(base, chosen), head_rows(counselor_turns(separable(4))[0]))
    trainer = make_trainer(base, rows, [], tmp_path / "o", chosen, HEADS, seed=0)
    groups = trainer.create_optimizer().param_groups
    assert groups[-1]["lr"] == 0.5
    assert sum(p.numel() for p in groups[-1]["params"]) == 32 * 8 + 8
    assert {group["lr"] for group in groups[:-1]} == {1e-5}
    trained_ones = [p for p in trainer.model.parameters() if p.requires_grad]
    assert sum(len(group["params"]) for group in groups) == len(trained_ones)


def test_a_killed_run_goes_on_to_the_same_losses(
    causal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_log(tmp_path / "run", separable(16))
    changed: dict[str, Any] = {
        "evaluate_every": 3, "lora_dropout": 0.2, "patience": 0, "epochs": 3.0, "batch_size": 2,
    }  # fmt: skip
    reference = train_counselor(settings(causal, data, tmp_path / "whole", **changed)).checkpoint
    made = classifier.make_callbacks

    def killing(*given: Any, **named: Any) -> Any:
        return [*made(*given, **named), KillAt(10)]

    monkeypatch.setattr(classifier, "make_callbacks", killing)
    torn = settings(causal, data, tmp_path / "torn", **changed)
    with pytest.raises(Killed):
        train_counselor(torn)
    monkeypatch.undo()
    save = last_save(tmp_path / "torn")
    assert save is not None
    assert save.name == "checkpoint-9"
    resumed = train_counselor(torn).checkpoint
    logs = [
        [
            entry.get("loss", entry.get("eval_loss"))
            for entry in map(json.loads, (folder / "training_log.jsonl").read_text().splitlines())
            if "loss" in entry or "eval_loss" in entry
        ]
        for folder in (tmp_path / "whole", tmp_path / "torn")
    ]
    assert logs[1] == pytest.approx(logs[0], rel=1e-5)
    assert resumed.metrics.keys() == reference.metrics.keys()
    for name, value in reference.metrics.items():
        same = value if value is None else pytest.approx(value, rel=1e-4)
        assert resumed.metrics[name] == same, name
