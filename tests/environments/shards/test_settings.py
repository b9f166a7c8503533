"""Settings of a place where nothing starts: refused where they are given, left alone in a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import warmline
from warmline.cli import app
from warmline.core.errors import ConfigError
from warmline.core.settings import read_settings
from warmline.environments.corpus import BuildSettings
from warmline.environments.shards.settings import RaySettings, SlurmSettings
from warmline.training.evolution.evaluation import evaluation_options, round_evaluation
from warmline.training.reproduction.presets import Stage


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Settings for a cluster that are not asked for today."""
    file = tmp_path / "settings.toml"
    file.write_text('policy = "scripted"\n[ray]\ncpus = 2\n[slurm]\nmem = "8GB"\n', "utf-8")
    return file


@pytest.mark.parametrize(
    "words",
    [
        ("simulate", "--ray.cpus", "2"),
        ("build", "--slurm.mem", "8GB"),
        ("simulate", "--on", "ray", "--slurm.mem", "8GB"),
        ("train", "sft", "--slurm.gpus", "4", "--processes", "2"),
    ],
)
def test_options_of_a_place_where_nothing_starts_are_refused(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, words)
    assert isinstance(done.exception, ConfigError)
    assert f"{words[-4 if 'train' in words else -2]} would change nothing" in str(done.exception)


@pytest.mark.parametrize("ray", [{"cpus": 2}, RaySettings(cpus=2)])
def test_python_refuses_them_too(ray: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--ray\.cpus would change nothing"):
        warmline.run_sharded({"episodes": 1}, out=tmp_path / "run", workers=1, ray=ray)
    assert not (tmp_path / "run").exists()


def test_defaults_ask_for_nothing(tmp_path: Path) -> None:
    """So settings can be written down whole and read again."""
    whole = BuildSettings(policy="scripted")
    assert read_settings(BuildSettings, given=whole.model_dump()) == whole
    given = {"policy": "scripted", "episodes": 1, "max_turns": 2}
    places: dict[str, Any] = {"ray": RaySettings(), "slurm": SlurmSettings()}
    assert len(warmline.run_sharded(given, out=tmp_path / "run", workers=1, **places)) == 1


def test_a_file_that_another_names_may_hold_them(file: Path) -> None:
    """A preset's stage and a round's evaluation are read from what a file says."""
    stage = Stage(name="corpus", about="made", command=f"build --config {file}")
    assert stage.given()["ray"] == {"cpus": 2.0}
    assert isinstance(stage.record({"out": "corpora/x"}), BuildSettings)
    text = f"--config {file} --limit 3"
    assert evaluation_options(text)["limit"] == 3
    assert round_evaluation({"seed": 4}, text).ray.cpus == 2
    with pytest.raises(ConfigError, match=r"--ray\.gpus would change nothing"):
        evaluation_options("--ray.gpus 1")
