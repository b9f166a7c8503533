"""Presets by name: each is whole, and is listed, shown, copied and run by the commands."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from warmline.cli import app
from warmline.core.errors import ConfigError
from warmline.training.reproduction import processes
from warmline.training.reproduction.presets import known_presets, preset_text, read_preset
from warmline.training.reproduction.reproduce import plan

from ..building import varied, write_log

PAPERS = ("sweetiechat", "fpemf", "self-evolution", "esconv-eval")
BOTH = [name for paper in PAPERS for name in (paper, f"{paper}-gpu")]

runner = CliRunner()


def test_each_way_has_a_preset_for_a_laptop_and_one_for_a_gpu() -> None:
    assert set(known_presets()) == {*BOTH, "cpu", "gpu"}
    listed = runner.invoke(app, ["presets", "list"], env={"COLUMNS": "120"}).output
    assert all(name in listed for name in BOTH)
    assert "tiny" not in listed  # for tests: it wants a model of random weights


@pytest.mark.parametrize("name", BOTH)
def test_a_preset_is_whole_and_commented(name: str, tmp_path: Path) -> None:
    """Every stage's settings are built; those on a laptop ask no engine but what ships."""
    steps = plan(read_preset(name), tmp_path)
    shown = runner.invoke(app, ["presets", "show", name])
    assert shown.exit_code == 0
    assert tomllib.loads(shown.output)["stages"]
    assert shown.output.startswith("# ")
    assert shown.output.count("  # ") >= 2 * len(steps)
    told = runner.invoke(app, ["presets", "use", name, "--dry-run", "--out", str(tmp_path / "o")])
    assert told.exit_code == 0, told.output
    assert told.output.count("warmline ") == len(steps)
    assert not (tmp_path / "o").exists()
    if not name.endswith("-gpu"):
        assert {"embedded", "transformers", None} >= {
            getattr(step.settings, "policy", None) for step in steps
        }


def test_a_preset_for_a_laptop_is_the_smaller_one() -> None:
    for paper in PAPERS:
        small, large = read_preset(paper), read_preset(f"{paper}-gpu")
        assert [s.name for s in small.stages] == [s.name for s in large.stages]
        assert small.honest != large.honest


def test_init_writes_a_preset_that_can_be_changed_and_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    made = runner.invoke(app, ["init", "esconv-eval"])
    assert made.exit_code == 0
    assert "warmline reproduce --preset warmline.toml" in made.output
    mine = Path("warmline.toml")
    named = runner.invoke(app, ["presets", "show", "warmline.toml"]).output
    assert re.findall(r"# (?:Run|See) it: +(.*)", named) == [
        "warmline reproduce --preset warmline.toml",
        "warmline reproduce --preset warmline.toml --dry-run",
    ]
    assert "warmline init" not in named
    assert tomllib.loads(named) == tomllib.loads(preset_text("esconv-eval"))
    with pytest.raises(ConfigError, match="there already"):
        runner.invoke(app, ["init"], catch_exceptions=False)
    runner.invoke(app, ["init", "fpemf", "--force"], catch_exceptions=False)
    assert tomllib.loads(mine.read_text()) == tomllib.loads(preset_text("fpemf"))
    again = runner.invoke(app, ["init", "warmline.toml", "--out", "a b.toml"])
    assert again.exit_code == 0
    assert "# Run it:     warmline reproduce --preset 'a b.toml'\n" in Path("a b.toml").read_text()


@pytest.mark.parametrize("name", ["cpu", "gpu", *BOTH])
def test_a_preset_says_how_it_is_run(name: str) -> None:
    assert f"# Run it:     warmline presets use {name}\n" in preset_text(name)


@pytest.mark.parametrize(
    ("name", "folder"),
    [("cpu", "runs/reproduce"), ("fpemf", "runs/fpemf"), ("mine.toml", "runs/mine")],
)
def test_both_commands_run_a_preset_in_the_same_folder(
    name: str, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    runner.invoke(app, ["init", "--out", "mine.toml"], catch_exceptions=False)
    told = [
        runner.invoke(app, [*command, name, "--dry-run"], catch_exceptions=False).output
        for command in (["presets", "use"], ["reproduce", "--preset"])
    ]
    assert told[0] == told[1]
    assert f"--out {folder}/01-" in told[0]


def test_a_preset_for_a_laptop_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole of `esconv-eval`, on two conversations and with a script in the embedded model's place."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(processes, "START", "fork")
    write_log(tmp_path / "corpora" / "esconv", varied(2))
    changed = preset_text("esconv-eval").replace("esconv:test", "esconv")
    changed = changed.replace('policy = "embedded"', 'policy = "scripted"')
    Path("mine.toml").write_text(changed)
    done = runner.invoke(app, ["presets", "use", "mine.toml"])
    assert done.exit_code == 0, done.output
    page = Path("runs/mine/report.md").read_text()
    assert "The same, with the eight strategies in the prompt" in page
    assert "Three dialogues by a model of 135 million parameters show the path" in page
