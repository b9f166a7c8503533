"""One training at a time in a folder; what a killed one leaves holds nobody up."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerCallback
from typer.testing import CliRunner

from warmline.cli import app
from warmline.core.errors import InUse
from warmline.training.loop import lock, row_trainer
from warmline.training.sft.train import train_sft

from ...policies.tiny_models import save_causal
from ..building import CHATML, TEMPLATE, settings, varied, write_log

LOCK = "training.lock"


@pytest.fixture(scope="module")
def causal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_causal(tmp_path_factory.mktemp("causal") / "model", chat_template=CHATML, layers=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_log(tmp_path_factory.mktemp("data") / "run", varied(4))


def in_its_first_step(monkeypatch: pytest.MonkeyPatch, do: Callable[[], None]) -> None:
    """Do something once, while a training is at work."""
    made, done = row_trainer.make_callbacks, []

    class Do(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if not done:
                done.append(True)
                do()

    monkeypatch.setattr(row_trainer, "make_callbacks", lambda *a, **k: [*made(*a, **k), Do()])


def test_a_second_training_is_refused_while_the_first_is_at_work(
    causal: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "LEAVE_WAIT", 0.0)
    given = settings(causal, data, tmp_path / "m0", max_steps=2, runs=2)
    refused: list[str] = []
    words = [
        "train", "sft", str(data), "--model", str(causal), "--template", TEMPLATE,
        "--out", str(tmp_path / "m0"), "--processes", "2",
    ]  # fmt: skip

    def again() -> None:
        with pytest.raises(InUse) as error:
            train_sft(given)
        refused.append(str(error.value))
        told = CliRunner().invoke(app, words).exception
        assert isinstance(told, InUse)
        refused.append(str(told))

    in_its_first_step(monkeypatch, again)
    first = train_sft(given)
    for message in refused:
        assert f"another process trains into {tmp_path / 'm0' / 'seed0'}\n" in message
        assert "choose another folder" in message
    assert len(refused) == 2
    assert list(tmp_path.rglob(LOCK)) == []
    assert train_sft(given) == first, "what is finished is read"


def test_what_a_killed_training_left_is_taken(causal: Path, data: Path, tmp_path: Path) -> None:
    given = settings(causal, data, tmp_path / "m0", max_steps=1)
    (tmp_path / "m0").mkdir()
    (tmp_path / "m0" / LOCK).touch()
    train_sft(given)
    assert not (tmp_path / "m0" / LOCK).exists()


def test_one_that_fails_at_once_leaves_nothing(causal: Path, data: Path, tmp_path: Path) -> None:
    given = settings(causal, data, tmp_path / "m0", max_tokens=1)
    with pytest.raises(Exception, match="token"):
        train_sft(given)
    assert not (tmp_path / "m0").exists()


def test_file_systems_without_locks_are_trained_on(
    causal: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fcntl = pytest.importorskip("fcntl", reason="Windows has no such locks")

    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    train_sft(settings(causal, data, tmp_path / "m0", max_steps=1))
    assert not (tmp_path / "m0" / LOCK).exists()
