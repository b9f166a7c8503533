"""Models whose tokenizer names no padding token, or one that the model has no embedding for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from warmline.policies.scripted import ScriptedPolicy
from warmline.training import (
    CounselorSettings,
    DpoSettings,
    FpemfSettings,
    SftSettings,
    train_counselor,
    train_dpo,
    train_fpemf,
    train_sft,
)

from ...policies.tiny_models import save_causal
from ..building import CHATML, TEMPLATE, episode, write_log
from ..preferences.test_build import TALK


@pytest.fixture(params=["none", "unknown"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = save_causal(tmp_path / "model", chat_template=CHATML, layers=1)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.pad_token = None if request.param == "none" else "<filler>"
    tokenizer.save_pretrained(folder)
    return folder


def test_every_training_fills_rows_up(model: Path, tmp_path: Path) -> None:
    """Rows of different lengths, two in a batch."""
    template = tmp_path / "short.jinja"
    template.write_text(TEMPLATE, "utf-8")
    data = write_log(tmp_path / "log", [episode(f"talk{n}", TALK) for n in range(6)])
    usual: dict[str, Any] = {
        "model": str(model), "data": (str(data),), "device": "cpu", "dtype": "float32",
        "template": str(template), "max_steps": 1, "batch_size": 2, "validation_share": 0.3,
    }  # fmt: skip
    scripted = {"policy": "scripted"}
    dpo = DpoSettings(**usual, out=str(tmp_path / "dpo"), variant="gold", supporter=scripted)
    fpemf = FpemfSettings(
        **usual, out=str(tmp_path / "fpemf"), judge=scripted, num_candidates=2, max_new_tokens=4
    )
    counselor = CounselorSettings(
        **{k: v for k, v in usual.items() if k != "template"}, out=str(tmp_path / "counselor")
    )
    results = [
        train_sft(SftSettings(**usual, out=str(tmp_path / "sft"))),
        train_dpo(dpo, supporter=ScriptedPolicy(lambda request: f"Number {request.seed}.")),
        train_fpemf(fpemf),
        train_counselor(counselor),
    ]
    for result in results:
        loss = result.checkpoint.metrics["validation_loss"]
        assert loss is not None
        assert loss > 0
