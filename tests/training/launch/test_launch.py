"""Processes of one training, started by its command: on two nodes, and as a job of a real Slurm."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomli_w

from warmline.core.errors import ConfigError, RunError
from warmline.core.settings import read_settings
from warmline.core.shards import on_slurm
from warmline.training.launch.launch import LOGS, refuse_active
from warmline.training.launch.settings import LaunchSettings
from warmline.training.loop.checkpoint import read_checkpoint

from ...environments.shards import slurm_here
from ...policies.tiny_models import save_causal
from ...test_outside import Command
from ..building import CHATML, TEMPLATE, varied, write_log

pytest.importorskip("submitit", reason="submitit is not installed: pip install 'warmline[slurm]'")
pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(capsys, monkeypatch)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Settings of a training of one step."""
    folder = tmp_path_factory.mktemp("given")
    settings = {
        "model": str(save_causal(folder / "model", chat_template=CHATML, layers=1)),
        "data": [str(write_log(folder / "talks", varied(4)))],
        "template": TEMPLATE, "device": "cpu", "dtype": "float32", "max_steps": 1,
        "validation_share": 0.0,
    }  # fmt: skip
    (folder / "train.toml").write_text(tomli_w.dumps(settings), "utf-8")
    return folder / "train.toml"


def test_more_than_one_node_is_for_slurm() -> None:
    with pytest.raises(ConfigError) as error:
        read_settings(LaunchSettings, None, {"nodes": 2})
    assert "add --on slurm" in str(error.value.problems)
    four = LaunchSettings.model_validate({"on": "slurm", "nodes": 2, "slurm": {"gpus": 4}})
    assert (four.each, four.launched) == (4, True)
    assert (LaunchSettings().each, LaunchSettings().launched) == (1, False)


def test_what_would_be_started(config: Path, command: Command, tmp_path: Path) -> None:
    words = ["train", "sft", "--config", config, "--dry-run"]
    told = command(*words, "--processes", "2", "--out", tmp_path / "m0")
    assert "torch.distributed.run --standalone --nproc-per-node=2 -m warmline.cli train sft" in told
    more = ["--on", "slurm", "--nodes", "2", "--slurm.gpus", "4", "--slurm.time", "30"]
    told = command(*words, *more, "--out", tmp_path / "m0")
    for line in ("--nodes=2", "--ntasks-per-node=1", "--gpus-per-node=4", "--time=30"):
        assert f"#SBATCH {line}" in told
    assert "array" not in told
    assert "# on each node:" in told
    assert "--nnodes=2" in told
    assert list(tmp_path.iterdir()) == [], "nothing is made"
    assert "--out" in command(*words, "--processes", "2", code=2)


def test_two_nodes_meet(config: Path, tmp_path: Path) -> None:
    """What submitit runs on each node, with the variables that Slurm sets there."""
    script = (
        "import sys; from pathlib import Path;"
        "from warmline.training.launch.launch import NodeTask, write_config;"
        "from warmline.training.launch.settings import LaunchSettings;"
        "NodeTask('sft', Path(sys.argv[1]), LaunchSettings(on='slurm', nodes=2))()"
    )
    own = tmp_path / "own.toml"
    own.write_text(f'out = "{tmp_path / "m0"}"\n' + config.read_text("utf-8"), "utf-8")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        job = str(free.getsockname()[1])
    shared = os.environ | {
        "OMP_NUM_THREADS": "1", "SUBMITIT_EXECUTOR": "slurm", "SLURM_JOB_ID": job,
        "SLURM_JOB_NODELIST": "localhost", "SLURM_NTASKS": "2", "SLURM_JOB_NUM_NODES": "2",
        "SLURM_LOCALID": "0",
    }  # fmt: skip
    nodes = [
        subprocess.Popen(
            [sys.executable, "-c", script, own], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=shared | {"SLURM_NODEID": str(rank), "SLURM_PROCID": str(rank)},
        )
        for rank in range(2)
    ]  # fmt: skip
    told = [node.communicate(timeout=240)[0] for node in nodes]
    assert [node.returncode for node in nodes] == [0, 0], told
    assert read_checkpoint(tmp_path / "m0").metrics["steps"] == 1


@pytest.fixture(scope="module")
def slurm() -> Iterator[Path]:
    yield from slurm_here.running()


def test_a_job_of_slurm(
    config: Path, slurm: Path, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_CONF", str(slurm))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    out = tmp_path / "m0"
    words = ["train", "sft", "--config", config, "--out", out, "--on", "slurm"]
    assert "submitted: job" in command(*words)
    assert "trains into" in command(*words, code=2)
    with pytest.raises(RunError, match="scancel"):
        refuse_active(out)
    job = str(json.loads((out / "launch.json").read_text())["job"])
    while on_slurm.active(job):
        time.sleep(0.5)
    printed = "".join(file.read_text("utf-8") for file in (out / LOGS).glob("*.out"))
    assert read_checkpoint(out).metrics["steps"] == 1, printed
    assert read_checkpoint(out).settings["out"] == str(out)
