"""SIGKILL while a training runs, as a user's machine does it: the same command ends up the same."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest
import tomli_w
import torch

from warmline.core.settings import read_settings
from warmline.policies.scripted import ScriptedPolicy
from warmline.training import DpoSettings, SftSettings, train_dpo, train_sft
from warmline.training.loop.loop import SAVES

from ..policies.tiny_models import save_causal
from ..warm import Started
from .building import CHATML, TEMPLATE, write_log
from .dpo.test_train import TALK, episode, talking


def train_settings(method: str, file: Path) -> None:
    """What the process that is killed runs."""
    kinds = {"sft": SftSettings, "dpo": DpoSettings}
    train: Any = {"sft": train_sft, "dpo": train_dpo}[method]
    train(read_settings(kinds[method], file))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, a corpus, and pairs made of it."""
    place = tmp_path_factory.mktemp("kills")
    save_causal(place / "model", chat_template=CHATML)
    write_log(place / "log", [episode(f"talk{n}", TALK) for n in range(6)])
    (place / "short.jinja").write_text(TEMPLATE, "utf-8")
    made = DpoSettings(**usual(place, place / "made", max_steps=1), data=(str(place / "log"),))
    train_dpo(made, supporter=ScriptedPolicy(talking))
    return place


def usual(place: Path, out: Path, **changed: Any) -> dict[str, Any]:
    return {
        "model": str(place / "model"),
        "out": str(out),
        "template": str(place / "short.jinja"),
        "dtype": "float32",
        "device": "cpu",
        "max_steps": 24,
        "evaluate_every": 1000,
        "save_minutes": 1e-9,
        "accumulation": 1,
        "patience": 0,
        "validation_share": 0.2,
    } | changed


def given(method: str, place: Path, out: Path) -> SftSettings | DpoSettings:
    if method == "sft":
        return SftSettings(**usual(place, out), data=(str(place / "log"),))
    return DpoSettings(**usual(place, out), pairs=(str(place / "made" / "pairs"),))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_a_training_killed_at_any_moment_ends_up_the_same(
    method: str, place: Path, tmp_path: Path
) -> None:
    train: Any = {"sft": train_sft, "dpo": train_dpo}[method]
    whole = train(given(method, place, tmp_path / "whole")).checkpoint
    settings = given(method, place, tmp_path / "out")
    plain = settings.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    (tmp_path / "settings.toml").write_text(tomli_w.dumps(plain), "utf-8")
    saves = tmp_path / "out" / SAVES
    kills, seen = 0, 0
    for _ in range(2):  # after its first save, and after the first of the resumed
        process = Started(train_settings, method, tmp_path / "settings.toml")
        while process.poll() is None and step_of(saves) <= seen:
            time.sleep(0.002)
        kills += process.kill() == -signal.SIGKILL
        seen = step_of(saves)
    assert kills == 2, "the training was over before it could be killed"
    resumed = train(settings).checkpoint
    assert resumed.metrics["steps"] == whole.metrics["steps"] == 24
    expected, found = weights(tmp_path / "whole"), weights(tmp_path / "out")
    assert all(torch.allclose(found[name], expected[name], atol=1e-6) for name in expected)
    assert not saves.exists()


def step_of(saves: Path) -> int:
    """The last step that is saved; 0 where none is."""
    states = saves.glob("checkpoint-*/trainer_state.json")
    return max((int(path.parent.name.rpartition("-")[2]) for path in states), default=0)
