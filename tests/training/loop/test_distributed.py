"""Two processes under torchrun, on a CPU: what they make together, and what one process makes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

from warmline.cli import app
from warmline.core.errors import ConfigError
from warmline.training import SftSettings
from warmline.training.loop.checkpoint import Checkpoint, read_checkpoint
from warmline.training.loop.distributed import refuse_alone
from warmline.training.loop.loop import ADAPTER_NAME

from ...policies.tiny_models import save_causal, save_seq2seq
from ...warm import Started, command
from ..building import CHATML, TEMPLATE, episode, varied, write_log
from ..counselor.test_train import separable
from ..preferences.test_build import TALK
from .divided import divided_command
from .dying import DIED, dying_command

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("common")
    save_causal(folder / "model", chat_template=CHATML, layers=1)
    (folder / "short.jinja").write_text(TEMPLATE, "utf-8")
    return {
        "--model": str(folder / "model"), "--template": str(folder / "short.jinja"),
        "--device": "cpu", "--dtype": "float32", "--schedule": "constant",
        "--learning-rate": "0.01", "--max-steps": "2", "--evaluate-every": "2",
    }  # fmt: skip


def train(
    processes: int, what: str, out: Path, options: dict[str, str], **further: Any
) -> tuple[Checkpoint, str]:
    """The checkpoint, and what was printed; processes that find one another as under torchrun."""
    started, printed = start(processes, what, out, options, **further)
    codes = [process.wait(240) for process in started]
    told = "".join(file.read_text("utf-8") for file in printed)
    assert codes == [0] * processes, told
    return read_checkpoint(out), told


def start(
    processes: int,
    what: str,
    out: Path,
    options: dict[str, str],
    last: dict[str, str] | None = None,
    *,
    run: Callable[..., None] = command,
    environment: Mapping[str, str] | None = None,
) -> tuple[list[Started], list[Path]]:
    """The processes, and the files of what they print; the last one may have options of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    out.parent.mkdir(parents=True, exist_ok=True)
    printed = [out.with_name(f"{out.name}-{rank}.txt") for rank in range(processes)]
    shared = {
        "WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    } if processes > 1 else {}  # fmt: skip
    started = [
        Started(
            run,
            *words_of(what, out, options | (last or {} if rank == processes - 1 else {})),
            output=printed[rank],
            environment={**(environment or {}), **shared}
            | ({"RANK": str(rank), "LOCAL_RANK": str(rank)} if shared else {}),
        )
        for rank in range(processes)
    ]  # fmt: skip
    return started, printed


def launched(what: str, out: Path, options: dict[str, str]) -> tuple[Checkpoint, str]:
    """Two processes started from nothing, by the command itself."""
    words = words_of(what, out, options | {"--processes": "2"})
    done = subprocess.run(
        [sys.executable, "-m", "warmline.cli", *words],
        capture_output=True, text=True, check=False, timeout=240,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return read_checkpoint(out), done.stdout


def words_of(what: str, out: Path, options: dict[str, str]) -> list[str]:
    pairs = {**options, "--out": str(out)}
    words = (word for pair in pairs.items() for word in pair if word)  # a flag has no value
    return ["train", what, *words]


def test_two_processes_train_as_one_with_twice_the_batch(
    common: dict[str, str], tmp_path: Path
) -> None:
    """Nine turns to measure on are not an even number of batches for two."""
    data = write_log(tmp_path / "data", varied(10))
    options = common | {"--data": str(data), "--validation-share": "0.3"}
    one, _ = train(1, "sft", tmp_path / "one", options | {"--batch-size": "2"})
    two, told = launched("sft", tmp_path / "two", options | {"--batch-size": "1"})
    assert told.count("step 2: validation loss") == 1
    assert one.metrics["validation_tokens"] == two.metrics["validation_tokens"]
    for name in ("validation_loss_before", "validation_loss", "train_loss_last"):
        assert two.metrics[name] == pytest.approx(one.metrics[name], rel=1e-4), name


@pytest.mark.parametrize("what", ["sft", "dpo", "fpemf"])
def test_steps_that_are_not_full_are_those_of_one_process(
    what: str, common: dict[str, str], tmp_path: Path
) -> None:
    """Five rows or nine: in the last step one process has half a batch and the other none."""
    data = write_log(tmp_path / "data", [episode(f"talk{n}", TALK) for n in range(6)])
    options = common | {"--data": str(data), "--validation-share": "0"}
    if what == "sft":
        nine = write_log(tmp_path / "nine", varied(3))
        options |= {"--data": str(nine), "--max-steps": "3"}
    if what == "dpo":
        options |= {"--limit": "5", "--variant": "gold", "--supporter.policy": "scripted"}
    if what == "fpemf":
        options |= {
            "--limit": "5", "--judge.policy": "scripted", "--num-candidates": "3",
            "--max-new-tokens": "4",
        }  # fmt: skip
    one, _ = train(1, what, tmp_path / "one", options | {"--batch-size": "4"})
    two, _ = train(2, what, tmp_path / "two", options | {"--batch-size": "2"})
    assert one.rows["train"] == two.rows["train"] == (9 if what == "sft" else 5)
    steps, same = (
        [e for line in lines if "grad_norm" in (e := json.loads(line))]
        for lines in (
            (tmp_path / name / "training_log.jsonl").read_text("utf-8").splitlines()
            for name in ("one", "two")
        )
    )
    numbers = [1, 2, 3] if what == "sft" else [1, 2]
    assert [step["step"] for step in steps] == [step["step"] for step in same] == numbers
    for expected, found in zip(steps, same, strict=True):
        for name in {"loss", "grad_norm", "dpo", "ranking", "nll"} & expected.keys():
            assert found[name] == pytest.approx(expected[name], rel=1e-4), name


def test_two_processes_make_pairs_once_and_learn_from_them(
    common: dict[str, str], tmp_path: Path
) -> None:
    data = write_log(tmp_path / "data", [episode(f"talk{n}", TALK) for n in range(6)])
    options = common | {
        "--data": str(data), "--variant": "gold", "--supporter.policy": "scripted",
        "--validation-share": "0.3",
    }  # fmt: skip
    one, _ = train(1, "dpo", tmp_path / "one", options | {"--batch-size": "2"})
    two, _ = train(2, "dpo", tmp_path / "two", options | {"--batch-size": "1"})
    calls = (tmp_path / "two" / "replies" / "calls.jsonl").read_text("utf-8").splitlines()
    assert len(calls) == len({json.loads(line)["id"] for line in calls}) == 12
    references = (tmp_path / "two" / "reference.jsonl").read_text("utf-8").splitlines()
    assert len(references) == len({json.loads(line)["pair"] for line in references})
    for name in ("validation_loss", "validation_nll", "validation_margin"):
        assert two.metrics[name] == pytest.approx(one.metrics[name], rel=1e-3, abs=1e-5), name


def test_two_processes_search_candidates_once(common: dict[str, str], tmp_path: Path) -> None:
    data = write_log(tmp_path / "data", [episode(f"talk{n}", TALK) for n in range(3)])
    options = common | {
        "--data": str(data), "--judge.policy": "scripted", "--num-candidates": "3",
        "--max-new-tokens": "4", "--limit": "6", "--validation-share": "0.3",
        "--batch-size": "1",
    }  # fmt: skip
    made, _ = train(2, "fpemf", tmp_path / "out", options)
    lines = (tmp_path / "out" / "candidates" / "candidates.jsonl").read_text().splitlines()
    assert len(lines) == len({json.loads(line)["id"] for line in lines}) == 6
    assert made.metrics["validation_nll"] is not None


def divide(what: str, out: Path, options: dict[str, str]) -> Checkpoint:
    """Trained by two processes of which each holds a half of the weights; held to by what they say."""
    said = out.with_name("divided.jsonl")
    options = options | {"--fsdp": ""}
    made, _ = train(2, what, out, options, run=divided_command, environment={"DIVIDED": str(said)})
    parts = [json.loads(line) for line in said.read_text("utf-8").splitlines()]
    assert len(parts) == 2
    assert sum(part["own"] for part in parts) == parts[0]["all"]
    assert all(0.4 < part["own"] / part["all"] < 0.6 for part in parts), parts
    assert "FSDPLlamaDecoderLayer" in parts[0]["units"]  # layer by layer
    return made


@pytest.mark.parametrize("recompute", [{}, {"--gradient-checkpointing": ""}])
@pytest.mark.parametrize("what", ["sft", "dpo", "fpemf", "counselor"])
def test_divided_weights_train_as_whole_ones(
    what: str, recompute: dict[str, str], common: dict[str, str], tmp_path: Path
) -> None:
    """FSDP, with held-out data that is not an even number of batches for two."""
    talks = {"sft": varied(10), "counselor": separable(7)}
    same = [episode(f"talk{n}", TALK) for n in range(9)]
    data = write_log(tmp_path / "data", talks.get(what, same))
    options = common | {"--data": str(data), "--validation-share": "0.3"}
    if what == "dpo":
        options |= {"--variant": "gold", "--supporter.policy": "scripted", "--limit": "9"}
    if what == "fpemf":
        options |= {
            "--judge.policy": "scripted", "--num-candidates": "3", "--max-new-tokens": "4",
            "--limit": "9",
        }  # fmt: skip
    if what == "counselor":
        del options["--template"]
    one, _ = train(1, what, tmp_path / "one", options | {"--batch-size": "2"})
    two = divide(what, tmp_path / "two", options | recompute | {"--batch-size": "1"})
    losses = {name for name in one.metrics if "loss" in name or name.endswith("nll")}
    assert {"validation_loss_before", "validation_loss", "train_loss_last"} <= losses
    for name in losses:
        assert two.metrics[name] == pytest.approx(one.metrics[name], rel=1e-3), name
    assert_same_weights(tmp_path / "one", tmp_path / "two", 2e-3)


def assert_same_weights(one: Path, other: Path, most: float) -> None:
    trained, apart = (load_file(folder / ADAPTER_NAME) for folder in (one, other))
    assert trained
    assert trained.keys() == apart.keys()
    for name, weights in trained.items():
        assert apart[name].shape == weights.shape
        assert (apart[name] - weights).abs().max() <= most, name


def test_divided_weights_are_saved_and_taken_up_again(
    common: dict[str, str], tmp_path: Path
) -> None:
    """Both processes are killed after a save; bfloat16 computes, and activations are computed anew."""
    data = write_log(tmp_path / "data", varied(10))
    options = common | {
        "--data": str(data), "--validation-share": "0.3", "--max-steps": "40",
        "--evaluate-every": "5", "--batch-size": "1", "--dtype": "bfloat16",
        "--gradient-checkpointing": "", "--learning-rate": "0.001",
    }  # fmt: skip
    whole = divide("sft", tmp_path / "whole" / "out", options)
    out = tmp_path / "killed" / "out"
    environment = {"DIVIDED": str(tmp_path / "killed" / "divided.jsonl")}
    started, _ = start(
        2, "sft", out, options | {"--fsdp": ""}, run=divided_command, environment=environment
    )
    until = time.monotonic() + 120
    while not list((out / "trainer").glob("checkpoint-*/trainer_state.json")):
        assert time.monotonic() < until
        time.sleep(0.005)
    assert {process.kill() for process in started} == {-signal.SIGKILL}
    (save, *_) = (out / "trainer").glob("checkpoint-*")
    assert (save / "pytorch_model_fsdp.bin").is_file()  # FSDP's own, not DDP's
    resumed = divide("sft", out, options)
    assert "resuming from step" in (tmp_path / "killed" / "out-0.txt").read_text("utf-8")
    for name in ("validation_loss_before", "validation_loss", "best_step"):
        assert resumed.metrics[name] == pytest.approx(whole.metrics[name], rel=1e-4), name
    assert_same_weights(out, tmp_path / "whole" / "out", 0.05)  # bfloat16


@pytest.mark.parametrize("case", ["in mid-epoch", "dpo", "stopped early", "divided"])
def test_killed_behind_the_last_step_nothing_is_trained_any_more(
    case: str, common: dict[str, str], tmp_path: Path
) -> None:
    """Between the last step and the checkpoint, which may take long, comes a kill."""
    what = "dpo" if case == "dpo" else "sft"
    talks = [episode(f"talk{n}", TALK) for n in range(9)] if case == "dpo" else varied(10)
    options = common | {
        "--data": str(write_log(tmp_path / "data", talks)), "--validation-share": "0",
        "--max-steps": "6", "--evaluate-every": "2", "--batch-size": "1",
    }  # fmt: skip
    if case == "dpo":
        options |= {"--variant": "gold", "--supporter.policy": "scripted", "--limit": "9"}
    if case == "stopped early":
        options |= {
            "--patience": "2", "--max-steps": "30", "--learning-rate": "0.3",
            "--batch-size": "2", "--validation-share": "0.3",
        }  # fmt: skip
    further: dict[str, Any] = {}
    count = 2 if case == "divided" else 1
    if case == "divided":
        options |= {"--fsdp": ""}
        further = {"run": divided_command, "environment": {"DIVIDED": str(tmp_path / "said")}}
    whole, _ = train(count, what, tmp_path / "whole", options, **further)
    started, _ = start(
        count, what, tmp_path / "out", options,
        run=dying_command, environment={"DIVIDED": str(tmp_path / "said")},
    )  # fmt: skip
    assert started[0].wait(120) == DIED
    for process in started[1:]:
        process.kill()
    assert list((tmp_path / "out" / "trainer").glob("checkpoint-*"))
    resumed, _ = train(count, what, tmp_path / "out", options, **further)
    assert resumed.metrics == whole.metrics
    assert_same_weights(tmp_path / "out", tmp_path / "whole", 1e-6)


def test_an_encoder_decoder_is_not_divided(common: dict[str, str], tmp_path: Path) -> None:
    save_seq2seq(tmp_path / "model")
    data = write_log(tmp_path / "data", varied(4))
    options = common | {"--data": str(data), "--model": str(tmp_path / "model"), "--fsdp": ""}
    started, printed = start(
        2, "sft", tmp_path / "out", options,
        run=divided_command, environment={"DIVIDED": str(tmp_path / "said")},
    )  # fmt: skip
    assert [process.wait(120) for process in started] == [2, 2]
    assert "encoder and decoder share weights" in printed[0].read_text("utf-8")


def test_weights_are_not_divided_for_one_process(common: dict[str, str], tmp_path: Path) -> None:
    data = write_log(tmp_path / "data", varied(4))
    words = words_of("sft", tmp_path / "out", common | {"--data": str(data), "--fsdp": ""})
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, ConfigError)
    assert "this is the only one" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_weights_are_not_divided_on_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="fsdp needs GPUs"):
        refuse_alone(SftSettings(fsdp=True, device="cpu"))
    refuse_alone(SftSettings(device="cpu"))
