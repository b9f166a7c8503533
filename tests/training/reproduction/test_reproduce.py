"""Reproduction: presets whose commands exist, stages done once, kills, and the report."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import typer

from warmline.cli import app
from warmline.core.errors import ConfigError, RunError
from warmline.core.options import nested
from warmline.core.settings import read_settings
from warmline.training.counselor.settings import CounselorSettings
from warmline.training.evolution.settings import EvolveSettings
from warmline.training.fpemf.settings import FpemfSettings
from warmline.training.loop.checkpoint import is_checkpoint
from warmline.training.reproduction import processes
from warmline.training.reproduction.presets import known_presets, read_preset
from warmline.training.reproduction.report import (
    counselor_table,
    helpful_table,
    overview,
    stage_page,
)
from warmline.training.reproduction.reproduce import DONE_NAME, first_stages, plan, reproduce
from warmline.training.reproduction.stages import KINDS, AnalyzeSettings, read_command
from warmline.training.scorer.settings import ScorerSettings
from warmline.training.sft.settings import SftSettings

from ...policies.tiny_models import save_causal
from ...warm import Started
from ..building import CHATML

PLAIN = """
about = "Two runs."
honest = "It shows nothing."
model = "none"
corpus = "first"

[[stages]]
name = "first"
about = "The first run"
run = "simulate"
settings = { policy = "scripted", episodes = 4, max_turns = 4 }

[[stages]]
name = "second"
about = "The same scenarios again"
run = "simulate"
settings = { policy = "scripted", episodes = 3, max_turns = 4, seed = 1 }

[[stages]]
name = "third"
about = "The analysis of both"
run = "analyze"
settings = { corpora = ["A={first}", "B={second}"] }
"""

COMMANDS = """
about = "Two runs."
honest = "It shows nothing."
model = "none"
corpus = "first"

[[stages]]
name = "first"
about = "The first run"
command = "simulate --policy scripted --episodes 4 --max-turns 4 --quiet --out {out}"

[[stages]]
name = "second"
about = "The same scenarios again"
command = "simulate --policy scripted --episodes 3 --max-turns 4 --seed 1 --quiet --out {out}"

[[stages]]
name = "third"
about = "The analysis of both"
command = "analyze A={first} B={second} --out {out}"
"""
"""The same as earlier versions wrote it."""


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    file = tmp_path / "plain.toml"
    file.write_text(PLAIN, "utf-8")
    return file


SETTINGS: dict[str, Any] = {
    "sft": SftSettings,
    "counselor": CounselorSettings,
    "scorer": ScorerSettings,
    "fpemf": FpemfSettings,
    "evolve": EvolveSettings,
}


def parsed(words: tuple[str, ...]) -> None:
    """Raises where command, option or settings are none, or do not go together; nothing is run."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("warmline", list(words[:1]), resilient_parsing=True)
    rest = list(words)
    while hasattr(command, "commands"):
        name = rest.pop(0)
        command = command.get_command(context, name)
        assert command is not None, words
    given = command.make_context(words[0], rest).params
    given.pop("dry_run", None)
    if (settings := SETTINGS.get(name)) is not None:
        read_settings(settings, None, nested(given))


@pytest.mark.parametrize("name", [*known_presets(), "tiny"])
def test_every_stage_of_the_presets_is_also_a_command(name: str, tmp_path: Path) -> None:
    for step in plan(read_preset(name), tmp_path, "some-model"):
        parsed(tuple(shlex.split(step.shown)[1:]))


@pytest.mark.parametrize("name", ["cpu", "gpu", "tiny"])
def test_presets_go_the_whole_way(name: str) -> None:
    preset = read_preset(name)
    stages = [stage.name for stage in preset.stages]
    whole = [
        "corpus", "test", "analyses", "counselor", "sft", "scorer", "fpemf", "fpemf-before",
        "fpemf-after", "evolve", "evaluation", "tables-fpemf", "tables-evolution",
    ]  # fmt: skip
    if name == "tiny":  # too few conversations to compare
        whole.remove("analyses")
    assert stages == whole
    if name == "tiny":
        return
    assert "cannot show" in preset.honest or "no evidence" in preset.honest
    if name == "cpu":
        assert sum(stage.minutes or 0 for stage in preset.stages) < 60


def test_what_is_learned_from_is_not_measured_on() -> None:
    """No training stage of the real presets reads the test conversations but as test data."""
    for name in known_presets():
        for stage in read_preset(name).stages:
            fields = {key for key, value in stage.settings.items() if "{test}" in str(value)}
            measuring = {"data"} if stage.run == "candidates" else set()
            assert fields <= {"test", "held_out", "corpus", "corpora"} | measuring, stage.name
            assert not fields or stage.run != "train_sft"


def test_names_become_folders(plain: Path, tmp_path: Path) -> None:
    steps = plan(read_preset(str(plain)), tmp_path / "out")
    assert [step.folder.name for step in steps] == ["01-first", "02-second", "03-third"]
    assert isinstance(steps[2].settings, AnalyzeSettings)
    assert steps[2].settings.corpora[0] == f"A={tmp_path / 'out' / '01-first'}"
    assert steps[2].settings.out == str(steps[2].folder)
    assert steps[2].shown.startswith("warmline analyze A=")
    assert [step.stage.name for step in first_stages(steps, "second")] == ["first", "second"]
    with pytest.raises(ConfigError, match=r"(?s)no stage 'secnd'.*did you mean 'second'"):
        first_stages(steps, "secnd")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("{second}", "{thrid}"), "refers to 'thrid', which no stage before it is called"),
        (('name = "second"', 'name = "first"'), "stage 'first' occurs twice"),
        (('corpus = "first"', 'corpus = "x"'), "no stage is called 'x'"),
        (('about = "Two runs."', 'abuot = "x"'), "abuot"),
        (
            ('run = "analyze"', 'run = "analyse"'),
            "nothing is called 'analyse'; did you mean 'analyze'",
        ),
        (("episodes = 4", "epsodes = 4"), "stage 'first'.*(?s:.*)did you mean 'episodes'"),
        (("episodes = 4", 'episodes = "many"'), "stage 'first'(?s:.*)episodes"),
    ],
)
def test_presets_that_do_not_fit_are_refused(
    change: tuple[str, str], message: str, plain: Path
) -> None:
    plain.write_text(PLAIN.replace(*change), "utf-8")
    with pytest.raises(ConfigError, match=message):
        read_preset(str(plain))


def test_a_preset_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"no preset 'cpuu'; known: cpu, .*sweetiechat"):
        read_preset("cpuu")
    with pytest.raises(ConfigError, match="--model FOLDER"):
        plan(read_preset("tiny"), Path("out"))


# Stages as command lines


def test_presets_of_earlier_versions_load(plain: Path, tmp_path: Path) -> None:
    """A command line is read by the command's own parser into the same stage."""
    now = plan(read_preset(str(plain)), tmp_path)
    plain.write_text(COMMANDS, "utf-8")
    before = plan(read_preset(str(plain)), tmp_path)
    assert [(s.stage.run, s.settings, s.asked) for s in before] == [
        (s.stage.run, s.settings, s.asked) for s in now
    ]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "judge {first} --policy scripted",
            "no stage runs the command 'judge .*(?s:.*)write run = ",
        ),
        ("simulate --epsodes 3", "(?i)no such option"),
        ("simulate 'x", "is not a command line"),
    ],
)
def test_a_command_that_no_stage_runs_is_refused_with_what_to_write(
    command: str, message: str, plain: Path
) -> None:
    plain.write_text(COMMANDS.replace("analyze A={first} B={second} --out {out}", command), "utf-8")
    with pytest.raises(ConfigError, match=message):
        read_preset(str(plain))


@pytest.mark.parametrize("name", known_presets())
def test_a_stage_is_read_back_from_its_command_line(name: str, tmp_path: Path) -> None:
    for step in plan(read_preset(name), tmp_path, "m"):
        run, settings = read_command(step.asked)
        assert run == step.stage.run
        assert KINDS[run].settings(**settings).model_dump(mode="json") == step.identity


def test_a_stage_that_an_earlier_version_finished_is_not_run_again(
    plain: Path, tmp_path: Path
) -> None:
    """Marks of earlier versions hold the command line as the preset wrote it, and no settings."""
    step = plan(read_preset(str(plain)), tmp_path)[1]
    command = "simulate --seed 1 --policy scripted --episodes 3 --max-turns 4 --quiet --out {out}"
    step.folder.mkdir(parents=True)
    mark = step.folder / DONE_NAME
    mark.write_text(json.dumps({"command": command, "seconds": 1.0, "starts": 2}), "utf-8")
    done = step.done()
    assert done is not None
    assert done.starts == 2
    mark.write_text(mark.read_text("utf-8").replace("--episodes 3", "--episodes 2"), "utf-8")
    with pytest.raises(
        RunError, match=r"02-second holds a stage with other settings(?s:.*)  episodes: 2 -> 3"
    ):
        step.done()


# Running


def test_stages_are_done_once(plain: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn")
    out, lines = tmp_path / "out", []
    page = reproduce(str(plain), out, say=lines.append)
    assert page == out / "report.html"
    assert "It shows nothing." in page.read_text("utf-8")
    text = (out / "report.md").read_text("utf-8")
    assert "It shows nothing." in text
    assert "## The analysis of both" in text
    marks = {f.parent.name: f.read_bytes() for f in out.rglob(DONE_NAME)}
    assert sorted(marks) == ["01-first", "02-second", "03-third"]
    again: list[str] = []
    reproduce(str(plain), out, say=again.append)
    assert sum("done before" in line for line in again) == 3
    assert {f.parent.name: f.read_bytes() for f in out.rglob(DONE_NAME)} == marks
    plain.write_text(PLAIN.replace("episodes = 3", "episodes = 2"), "utf-8")
    with pytest.raises(
        RunError, match=r"02-second holds a stage with other settings(?s:.*)  episodes: 3 -> 2"
    ):
        reproduce(str(plain), out)


def test_a_stage_that_fails_says_why(plain: Path, tmp_path: Path) -> None:
    plain.write_text(PLAIN.replace("seed = 1", 'problem_types = ["Nothing"]'), "utf-8")
    with pytest.raises(RunError, match=r"(?s)ended with 2.*unknown problem types"):
        reproduce(str(plain), tmp_path / "out")
    assert (tmp_path / "out" / "01-first" / DONE_NAME).is_file()
    assert not (tmp_path / "out" / "02-second" / DONE_NAME).is_file()
    assert "unknown problem types" in (tmp_path / "out/02-second/output.log").read_text()


COMMAND = """
import sys
from pathlib import Path
from warmline.training.reproduction.reproduce import reproduce
reproduce(sys.argv[1], Path(sys.argv[2]), model=sys.argv[3])
"""


def start(preset: str, out: Path, model: str) -> subprocess.Popen[bytes]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-c", COMMAND, preset, str(out), model]
    return subprocess.Popen(words, env=environment)


def killed_in(preset: str, out: Path, model: str, name: str, after: float) -> None:
    """A reproduction that kills itself in the stage `name`, before that stage is marked as done.

    Its stages are forks of this process, which has imported what they need.

    Args:
        after: seconds from the stage's start; a shorter stage is killed at its end.
    """
    processes.START = "fork"
    module: Any = sys.modules[reproduce.__module__]
    run, write = module._run, module.write_whole

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def timed(step: Any, *given: Any) -> Any:
        if step.folder.name == name:
            threading.Timer(after, die).start()
        return run(step, *given)

    def marked(file: Path, text: str) -> None:
        if file == out / name / DONE_NAME:
            die()
        write(file, text)

    module._run, module.write_whole = timed, marked
    reproduce(preset, out, model=model)


def children_of(process: int) -> list[int]:
    """Ids of its child processes, now (Linux)."""
    file = Path(f"/proc/{process}/task/{process}/children")
    return [int(word) for word in file.read_text().split()] if file.exists() else []


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks at Linux's process table")
def test_a_kill_leaves_no_stage_running(plain: Path, tmp_path: Path) -> None:
    plain.write_text(PLAIN.replace("episodes = 4", "episodes = 20000"), "utf-8")
    process = start(str(plain), tmp_path / "out", "none")
    log = tmp_path / "out" / "01-first" / "episodes.jsonl"
    end = time.monotonic() + 60
    while not log.exists() and time.monotonic() < end:
        time.sleep(0.05)
    children = children_of(process.pid)
    assert children
    process.send_signal(signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 20
    while any(Path(f"/proc/{child}").exists() for child in children) and time.monotonic() < end:
        time.sleep(0.05)
    assert not [child for child in children if Path(f"/proc/{child}").exists()]


def test_ctrl_c_stops_the_stage_too_and_says_how_to_go_on(plain: Path, tmp_path: Path) -> None:
    plain.write_text(PLAIN.replace("episodes = 4", "episodes = 20000"), "utf-8")
    out = tmp_path / "out"
    words = [sys.executable, "-m", "warmline.cli", "reproduce", "--preset", str(plain)]
    process = subprocess.Popen([*words, "--out", str(out)], stdout=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not (out / "01-first" / "episodes.jsonl").exists() and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    told, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command resumes" in told
    assert not (out / "01-first" / DONE_NAME).exists()


@pytest.mark.timeout(900)
def test_killed_in_every_stage_the_loop_ends_as_it_would(tmp_path: Path) -> None:
    """The preset `tiny`: each stage is killed once, at a random moment, and the whole finishes.

    What is left after the last kill runs in processes started from nothing, as a user's do.
    """
    pytest.importorskip("markdown_it")
    model = tiny_model(tmp_path / "model")
    out, draw = tmp_path / "out", random.Random(1)
    names = [step.folder.name for step in plan(read_preset("tiny"), out, str(model))]
    for name in names:
        process = Started(killed_in, "tiny", out, str(model), name, draw.random() * 0.5)
        assert process.wait(300) == -signal.SIGKILL
    page = reproduce("tiny", out, model=str(model))
    assert page.is_file()
    for folder in (
        "03-counselor",
        "04-sft",
        "05-scorer",
        "06-fpemf",
        "09-evolve/round-1/checkpoint",
    ):
        assert is_checkpoint(out / folder)
    text = (out / "report.md").read_text("utf-8")
    for heading in (
        "# Reproduction",
        "## FPEMF on M0",
        "## Candidates of the model after FPEMF",
        "Helpful rates",
        "form of Self-Evolution Table 6",
    ):
        assert heading in text
    starts = [json.loads((out / name / DONE_NAME).read_text())["starts"] for name in names]
    assert starts == [2] * len(names)
    assert len({json.loads(x)["id"] for x in (out / "01-corpus/episodes.jsonl").open()}) == 6


def tiny_model(folder: Path) -> Path:
    """A tiny model that takes the shipped prompts, of some thousand bytes."""
    save_causal(folder, chat_template=CHATML, layers=1)
    for name, field in (("config.json", "max_position_embeddings"),
                        ("tokenizer_config.json", "model_max_length")):  # fmt: skip
        file = folder / name
        file.write_text(json.dumps(json.loads(file.read_text()) | {field: 4096}), "utf-8")
    return folder


# The report


def test_the_overview_tells_times_and_limits() -> None:
    stage = {
        "name": "a", "about": "First", "command": "warmline a", "folder": "x", "seconds": 90.0,
        "starts": 2, "expected_minutes": 3.0,
    }  # fmt: skip
    text = overview({"about": "All.", "honest": "Little.", "stages": [stage, stage]})
    assert "> Little." in text
    assert "| a | First | 1.5 | 3 | 2 |" in text
    assert "In all 3.0 minutes." in text


def test_helpful_rates_stand_beside_the_published_ones() -> None:
    """FPEMF Table 4: DKPE with FPEMF keeps to the topic in 74.65 per cent of its beams."""
    record = {"single": {"topic": {"value": 0.5}}, "beams": {"topic": {"value": None}}}
    text = helpful_table(record)
    assert "| ours, by our scorer | - | - | - | 50.0 |" in text
    assert "| ours, by our scorer | - | - | - | - |" in text
    assert "| published DKPE_FPEMF | 90.12 | 96.47 | 83.21 | 74.65 |" in text


def test_the_counselor_stands_beside_the_published_accuracy() -> None:
    text = counselor_table({"models": {"majority": {"count": 8, "accuracy": 0.25}}})
    assert "| majority | 8 | 0.25 | - | - | - | - |" in text
    assert "DKPE_FPEMF 35.54" in text
    assert counselor_table({"something": 1}) == ""


def test_pages_of_a_stage_are_taken_in_below_its_heading(tmp_path: Path) -> None:
    (tmp_path / "table.md").write_text("# Title\n\n```\n# code\n```\n", "utf-8")
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "table.md").write_text("# Deep\n", "utf-8")
    assert stage_page(tmp_path) == "### Title\n\n```\n# code\n```"
    assert stage_page(tmp_path / "a" / "nothing") == ""


def test_missing_libraries_of_late_stages_are_named_before_the_first(tmp_path: Path) -> None:
    """In a process of its own, where three extras are missing; the first stage needs none of them."""
    preset = tmp_path / "late.toml"
    preset.write_text(
        PLAIN
        + '[[stages]]\nname = "m0"\nabout = "M0"\nrun = "train_sft"\nsettings = { data = ["{first}"] }\n'
        '[[stages]]\nname = "new"\nabout = "New"\nrun = "build"\nsettings = { episodes = 1 }\n',
        "utf-8",
    )
    code = (
        "import sys\n"
        "for name in ('nltk', 'datasketch', 'peft'): sys.modules[name] = None\n"
        "from warmline.core.errors import MissingExtra\n"
        "from warmline.training.reproduction.reproduce import reproduce\n"
        "try:\n    reproduce(sys.argv[1], sys.argv[2])\n"
        "except MissingExtra as error:\n    print(error)\n"
    )
    out = tmp_path / "out"
    run = subprocess.run(
        [sys.executable, "-c", code, preset, out], capture_output=True, text=True, check=True
    )
    assert "pip install 'warmline[data,eval,train]'" in run.stdout
    assert not out.exists()
