"""What signals to `warmline train … --processes 2` do to the processes that it started."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from warmline.training.loop.loop import last_save

from ...policies.tiny_models import save_causal
from ..building import CHATML, TEMPLATE, varied, write_log

LIGHT = Path(__file__).with_name("light.py")
pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals"),
]


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A training that does not come to its end by itself."""
    folder = tmp_path_factory.mktemp("given")
    save_causal(folder / "model", chat_template=CHATML, layers=1)
    (folder / "short.jinja").write_text(TEMPLATE, "utf-8")
    data = write_log(folder / "talks", varied(4))
    return [
        "train", "sft", "--data", str(data), "--model", str(folder / "model"),
        "--template", str(folder / "short.jinja"), "--device", "cpu", "--dtype", "float32",
        "--max-steps", "1000000", "--evaluate-every", "5", "--validation-share", "0",
        "--processes", "2",
    ]  # fmt: skip


def wait_until(holds: Callable[[], object]) -> None:
    until = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


@contextmanager
def started(
    words: list[str], folder: Path, begun: Callable[[], object]
) -> Iterator[tuple[psutil.Popen, list[psutil.Process]]]:
    """The command once it has begun, and all processes below it; `told.txt` is what they print."""
    told = folder / "told.txt"
    with told.open("w") as file:
        command = psutil.Popen(
            [sys.executable, *words], stdout=file, stderr=subprocess.STDOUT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
    below: list[psutil.Process] = []
    try:
        wait_until(lambda: command.poll() is not None or begun())
        assert command.poll() is None, told.read_text("utf-8")
        below = command.children(recursive=True)
        yield command, below
    finally:
        for process in (command, *below):
            if process.is_running():
                process.kill()


def training(words: list[str], out: Path) -> Any:
    """A real training, once it has saved."""
    saves = out / "trainer"
    command = ["-m", "warmline.cli", *words, "--out", str(out)]
    return started(command, out.parent, lambda: list(saves.glob("checkpoint-*/trainer_state.json")))


def light(folder: Path) -> Any:
    """Two processes that only wait, held in the same way."""
    return started(
        [str(LIGHT), str(folder)], folder, lambda: len(list(folder.glob("begun-*"))) == 2
    )


def test_a_signal_to_the_command_has_all_save_and_stop(words: list[str], tmp_path: Path) -> None:
    out = tmp_path / "m0"
    with training(words, out) as (command, below):
        assert len(below) >= 3  # torchrun and two that train
        command.send_signal(signal.SIGTERM)
        assert command.wait(120) == 128 + signal.SIGTERM
        assert psutil.wait_procs(below, 60)[1] == []
    told = (tmp_path / "told.txt").read_text("utf-8")
    assert "Traceback" not in told
    assert "stopped by SIGTERM" in told
    assert "the same command resumes" in told
    (*_, steps) = re.findall(r"stopped after (\d+) of", told)
    save = last_save(out)
    assert save is not None
    assert save.name == f"checkpoint-{steps}"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_comes_to_each_once(number: signal.Signals, tmp_path: Path) -> None:
    with light(tmp_path) as (command, below):
        assert len(below) == 3
        command.send_signal(number)
        assert command.wait(120) == 128 + number
        assert psutil.wait_procs(below, 60)[1] == []
    assert [(tmp_path / f"told-{rank}").read_text("utf-8") for rank in range(2)] == [
        number.name
    ] * 2
    told = (tmp_path / "told.txt").read_text("utf-8")
    assert "Traceback" not in told
    assert f"stopped by {number.name}" in told


def test_what_it_started_ends_with_a_command_that_is_killed(tmp_path: Path) -> None:
    with light(tmp_path) as (command, below):
        command.kill()
        assert psutil.wait_procs(below, 60)[1] == []
    assert not list(tmp_path.glob("told-*")), "they are killed: nobody is left who waits for them"


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone can")
def test_those_that_train_end_with_a_torchrun_that_is_killed(
    words: list[str], tmp_path: Path
) -> None:
    with training(words, tmp_path / "m0") as (command, below):
        command.children()[0].kill()
        assert psutil.wait_procs(below, 60)[1] == []
        assert command.wait(60) == 2
