"""Where newcomers stumbled: each case once, as it was typed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import warmline
from warmline.core.errors import ConfigError
from warmline.core.settings import read_settings
from warmline.environments.corpus.exporting.settings import ExportSettings

from .test_outside import Command

PLAY = ("simulate", "--policy", "scripted", "--max-turns", "4", "--seed", "1")


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(capsys, monkeypatch)


def test_a_run_whose_output_nobody_reads_is_played_to_its_end(tmp_path: Path) -> None:
    """`warmline simulate ... | head -1`."""
    words = [sys.executable, "-m", "warmline.cli", *PLAY, "--episodes", "12", "--out", tmp_path]
    run = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert run.stdout is not None
    assert run.stderr is not None
    run.stdout.close()
    told = run.stderr.read().decode()
    run.stderr.close()
    assert (run.wait(), told) == (0, "")
    assert len(warmline.read_episodes(tmp_path)) == 12


def test_showing_to_nobody_is_no_fault(tmp_path: Path) -> None:
    warmline.simulate(policy="scripted", episodes=2, max_turns=4, out=tmp_path)
    for words in (["show", tmp_path], ["types"]):
        shown = subprocess.Popen(
            [sys.executable, "-m", "warmline.cli", *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert shown.stdout is not None
        assert shown.stderr is not None
        shown.stdout.close()
        assert (shown.stderr.read(), shown.wait()) == (b"", 0)
        shown.stderr.close()


def test_a_log_is_not_compacted(tmp_path: Path, command: Command) -> None:
    warmline.simulate(policy="scripted", episodes=2, max_turns=4, out=tmp_path)
    told = command("compact", tmp_path / "episodes.jsonl", code=2)
    assert "give the folder" in told
    assert "2 episodes of 1 log" in command("compact", tmp_path)


def test_a_folder_that_is_not_there_is_not_compacted(tmp_path: Path, command: Command) -> None:
    assert "there is no such folder" in command("compact", tmp_path / "nowhere", code=2)
    assert not (tmp_path / "nowhere").exists()


def test_the_status_of_one_process_says_of_how_many(tmp_path: Path, command: Command) -> None:
    command(*PLAY, "--episodes", "3", "--out", tmp_path, "--quiet")
    assert "3 of 3 episodes" in command("status", tmp_path)


def test_a_training_is_not_queued_for_data_that_are_not_there(
    tmp_path: Path, command: Command
) -> None:
    talks = tmp_path / "talks"
    warmline.simulate(policy="scripted", episodes=2, max_turns=4, out=talks)
    for data, model in ((tmp_path / "nope", "embedded"), (talks, tmp_path / "nope")):
        words = ("train", "sft", data, "--model", model, "--out", tmp_path / "m0")
        for place in (("--processes", "2"), ("--on", "slurm"), ("--processes", "2", "--dry-run")):
            assert "nope" in command(*words, *place, code=2)
    assert "add --processes" in command("train", "sft", talks, "--dry-run", code=2)
    assert not (tmp_path / "m0").exists()


def test_what_slurm_refuses_leaves_no_folder(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("submitit")
    (tmp_path / "bin").mkdir()
    refusing = tmp_path / "bin" / "sbatch"
    refusing.write_text("#!/bin/sh\necho no such partition >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{refusing.parent}:/usr/bin:/bin")
    talks, out = tmp_path / "talks", tmp_path / "out"
    warmline.simulate(policy="scripted", episodes=2, max_turns=4, out=talks)
    slurm = ("--on", "slurm", "--out", out)
    for words in ((*PLAY, "--episodes", "3", "--workers", "2"), ("train", "sft", talks)):
        assert "no such partition" in command(*words, *slurm, code=2)
        assert not out.exists()


def test_a_person_shares_no_terminal_with_workers(tmp_path: Path, command: Command) -> None:
    told = command(
        "simulate", "--policy", "human", "--workers", "2", "--out", tmp_path / "x", code=2
    )
    assert "several workers cannot share" in told
    assert not (tmp_path / "x").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux's full device")
def test_a_full_disk_under_the_output_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        shown = subprocess.run(
            [sys.executable, "-m", "warmline.cli", "types"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert shown.returncode == 2
    assert shown.stderr.startswith("error: the output cannot be written")
    assert "Traceback" not in shown.stderr


def test_files_and_formats_that_are_not_there_are_named(tmp_path: Path, command: Command) -> None:
    told = command("reproduce", "--preset", tmp_path / "nofile.toml", code=2)
    assert "no such file" in told
    with pytest.raises(ConfigError) as error:
        read_settings(ExportSettings, None, {"format": "shargpt"})
    assert "prompt-completion" in str(error.value.problems)
    assert "did you mean 'sharegpt'" in str(error.value.problems).lower()
    assert ExportSettings(format="prompt-completion").format == "prompt_completion"  # type: ignore[arg-type]


def test_a_preset_without_a_model_says_where_it_goes(tmp_path: Path, command: Command) -> None:
    told = command("init", "tiny", "--out", tmp_path / "mine.toml")
    assert f"--preset {tmp_path / 'mine.toml'} --model FOLDER --dry-run" in told
    assert f"--preset '{tmp_path}/a $(b).toml'" in command(
        "init", "cpu", "--out", tmp_path / "a $(b).toml"
    )
    (tmp_path / "no.toml").write_text("about = 3\n")
    command("init", tmp_path / "no.toml", "--out", tmp_path / "copy.toml", code=2)
    assert not (tmp_path / "copy.toml").exists()
