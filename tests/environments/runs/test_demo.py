"""`warmline demo`: a written dialogue first, then four for a reader, and what to type next."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import warmline
from warmline.agents.speech import is_farewell
from warmline.cli import app
from warmline.environments.runs.demo_command import TYPES, demo_scenarios
from warmline.environments.scenarios import written
from warmline.environments.scenarios.problem_types import category_of, problem_types
from warmline.environments.scenarios.seed_pool import seed_dialogues, seed_side
from warmline.policies.safety import DISCLAIMER

ROOT = Path(__file__).parents[3]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def demo(*words: str) -> str:
    wide = {"COLUMNS": "2000", "NO_COLOR": "1"}
    run = CliRunner(env=wide).invoke(app, ["demo", "--policy", "scripted", *words])
    assert run.exit_code == 0, run.output
    return run.output


def test_what_is_shown_and_in_which_order(elsewhere: Path) -> None:
    shown = demo()
    places = [shown.index(written.HEADING), shown.index(written.ORIGIN)]
    places.append(shown.index("Played now"))
    assert places == sorted(places)
    assert max(places) < min(shown.index(f"\n{kind}  (") for kind in TYPES)
    for episode in warmline.read_episodes("runs/demo"):
        about = shown.index(episode.scenario.situation)
        said = [shown.index(f": {u.text}\n", about) for u in episode.utterances]
        end = shown.index("Ended after", about)
        assert about < said[0]
        assert said == sorted(said)
        assert end > said[-1]
        assert f"Ended after {len(episode.utterances)} utterances:" in shown[end : end + 60]
    assert f"Supporter ({warmline.Strategy.QUESTION})" in shown
    assert DISCLAIMER in shown
    last = shown.rstrip().splitlines()[-1]
    assert last.startswith("Next: ")
    assert all(
        f"warmline {word}" in last for word in ("report runs/demo", "demo --policy", "train")
    )


def test_once_more_shows_the_same_and_another_demo_takes_the_next_folder(elsewhere: Path) -> None:
    first = demo()
    assert demo() == first
    assert "report runs/demo-2`" in demo("--seed", "8")
    assert sorted(p.name for p in (elsewhere / "runs").iterdir()) == ["demo", "demo-2"]
    assert written.HEADING not in demo("--no-written")


def test_fewer_are_the_first_of_them_and_the_others_follow(elsewhere: Path) -> None:
    shown = demo("--no-written", "--episodes", "1")
    assert [f"\n{kind}  (" in shown for kind in TYPES] == [True, False, False, False]
    (one,) = warmline.read_episodes("runs/demo")
    demo("--no-written")
    assert [p.name for p in (elsewhere / "runs").iterdir()] == ["demo"]
    first, *others = warmline.read_episodes("runs/demo")
    assert first == one
    assert [e.scenario.problem_type for e in (one, *others)] == list(TYPES)


def test_four_everyday_scenarios_of_different_categories_that_nothing_was_trained_on() -> None:
    for seed in range(5):
        scenarios = demo_scenarios(seed)
        assert [s.problem_type for s in scenarios] == list(TYPES)
        assert {seed_side(s.id) for s in scenarios} == {"test"}
        assert not [s.id for s in scenarios if warmline.crisis_kinds(s.situation)]
    kinds = {category_of(kind) for kind in (*TYPES, written.read_written().problem_type)}
    assert len(kinds) == 5 == len({kind.category for kind in problem_types().values()})


def test_the_written_dialogue_is_one_that_ships() -> None:
    found = written.read_written()
    dialogue = next(d for d in seed_dialogues() if d.id == written.DIALOGUE)
    assert [text for _, text in found.lines] == [turn.text for turn in dialogue.turns]
    assert found.problem_type == dialogue.problem_type
    assert not is_farewell(found.lines[0][1])


def test_it_is_there_before_anything_is_installed() -> None:
    """In Python without any package, isolated from this environment."""
    script = str(Path(written.__file__))
    run = subprocess.run(
        [sys.executable, "-I", "-S", script], capture_output=True, text=True, check=True, timeout=30
    )
    found = written.read_written()
    plain = " ".join(run.stdout.split())
    assert plain.startswith(written.HEADING)
    assert written.ORIGIN in plain
    for speaker, text in found.lines:
        assert f"{speaker}: {' '.join(text.split())}" in plain
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert str(Path(script).relative_to(ROOT)) in makefile


def test_the_recording_is_of_a_whole_demo() -> None:
    """`docs/demo.cast` plays in asciinema (format 2), and is what README quotes."""
    head, *events = map(json.loads, (ROOT / "docs" / "demo.cast").read_text("utf-8").splitlines())
    assert (head["version"], head["width"], head["height"]) == (2, 96, 30)
    assert all(kind == "o" for _, kind, _ in events)
    times = [time for time, _, _ in events]
    assert times == sorted(times)
    said = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", "".join(text for _, _, text in events))
    words = " ".join(said.split())
    assert words.count("Ended after") == 4
    assert DISCLAIMER in words
    [quoted] = re.findall(
        r"```text\nSleep Problems(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.S
    )
    for part in quoted.split("..."):
        assert " ".join(part.split()) in words
