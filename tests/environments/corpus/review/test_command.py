"""`warmline review` and `warmline export`, run as a user runs them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from warmline.cli import app
from warmline.core.errors import DataError, WarmlineError
from warmline.environments.corpus.review.store import ReviewStore
from warmline.environments.episodes.log import read_episodes
from warmline.environments.episodes.rating import iter_ratings

from ..reviewed import episode, write_corpus


def run(*arguments: object, code: int = 0, typed: str = "") -> str:
    """Run the command in this process; returns what it printed, or the error's message."""
    done = CliRunner().invoke(
        app, list(map(str, arguments)), input=typed, env={"COLUMNS": "200", "NO_COLOR": "1"}
    )
    if isinstance(done.exception, WarmlineError):  # `main` prints it and leaves with code 2
        assert code == 2, done.exception
        return str(done.exception)
    assert done.exit_code == code, (done.output, done.exception)
    return str(done.output)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    crisis = episode("grave", ("seeker", "I want to kill myself."), ("supporter", "Stay with me."))
    folder = write_corpus(tmp_path / "corpus", [episode("mild"), crisis])
    assert "2 dialogues enrolled" in run("review", "start", folder, "--required", 2)
    return folder


def test_a_review_from_start_to_export(corpus: Path, tmp_path: Path) -> None:
    run("review", "next", corpus, "--reviewer", "ada", "--approve", "mild")
    assert "mild: approved" in run(
        "review", "next", corpus, "--reviewer", "bo", "--approve", "mild"
    )
    reject = ["review", "next", corpus, "--reviewer", "bo", "--reject", "grave"]
    assert "a rejection needs a reason" in run(*reject, code=2)
    assert "grave: rejected" in run(*reject, "--reason", "no help was named")
    status = json.loads(run("review", "status", corpus, "--json"))
    assert status["states"] == {"pending": 0, "approved": 1, "rejected": 1}
    assert "bo: no help was named" in run("review", "status", corpus)
    assert "3 ratings added" in run("review", "apply", corpus)
    assert "0 ratings added" in run("review", "apply", corpus)
    assert sorted((r.episode, r.rater, r.value) for r in iter_ratings(corpus)) == [
        ("grave", "bo", 0.0),
        ("mild", "ada", 1.0),
        ("mild", "bo", 1.0),
    ]
    found = json.loads(run("review", "agreement", corpus, "--json"))
    assert (found["items"], found["single"], found["percent"]) == (1, 1, 100.0)
    assert "not defined" in run("review", "agreement", corpus)
    lines = run("review", "export", corpus).splitlines()
    assert [json.loads(line)["state"] for line in lines] == ["approved", "rejected"]
    out = tmp_path / "out"
    printed = run(
        "export", corpus, "--out", out, "--format", "prompt-completion", "--only-reviewed"
    )
    assert "left out: 1 rejected in review" in printed
    assert "research software" in printed
    (row_file,) = (out / "data").iterdir()
    assert len(row_file.read_text("utf-8").splitlines()) == 3


def test_an_edit_on_the_command_line_reopens_the_dialogue(corpus: Path) -> None:
    run("review", "next", corpus, "--reviewer", "ada", "--approve", "mild")
    edited = run("review", "edit", corpus, "mild", 1, "What pulls you there?", "--reviewer", "bo")
    assert "mild: version 1, pending" in edited
    late = ["review", "next", corpus, "--reviewer", "cy", "--approve", "mild", "--version", 0]
    assert "is at version 1; version 0 was read" in run(*late, code=2)
    (mild, _) = map(json.loads, run("review", "export", corpus).splitlines())
    assert mild["edits"][0]["before"] == read_episodes(corpus)[0].utterances[1].text
    assert mild["edits"][0]["after"] == "What pulls you there?"


def test_reviewing_on_the_terminal_and_going_on_later(corpus: Path) -> None:
    first = json.loads(run("review", "next", corpus, "--reviewer", "ada", "--json"))["id"]
    other = {"mild": "grave", "grave": "mild"}[first]
    shown = run(
        "review", "next", corpus, "--reviewer", "ada", typed="x\ns\ne\n0\nHello there.\nq\n"
    )
    assert "'x' is none of" in shown
    assert "runs a café" in shown
    assert "scenario: " in shown
    assert f"dialogue: {other}, version 1" in shown
    assert "stopped; the same command goes on from here" in shown
    shown = run("review", "next", corpus, "--reviewer", "ada", typed="a\nr\nflat\n")
    assert "Hello there." in shown
    assert "nothing left to review" in shown
    status = json.loads(run("review", "status", corpus, "--json"))
    states = {s["id"]: (s["state"], s["approved_by"]) for s in status["standings"]}
    assert states == {first: ("rejected", []), other: ("pending", ["ada"])}


def test_crisis_language_is_marked_with_guidance(corpus: Path) -> None:
    for _ in range(2):
        shown = run("review", "next", corpus, "--reviewer", "ada", "--show")
        if "grave" in shown:
            break
        run("review", "next", corpus, "--reviewer", "ada", "--approve", "mild")
    assert "crisis language: suicide" in shown
    assert "skipping is always right" in shown
    assert "findahelpline" in shown


def test_export_as_json_is_one_object_and_errors_leave_with_two(
    corpus: Path, tmp_path: Path
) -> None:
    report = json.loads(run("export", corpus, "--out", tmp_path / "o", "--format", "hub", "--json"))
    assert sum(report["rows"].values()) == 2
    assert "exists" in run("export", corpus, "--out", tmp_path / "o", code=2)
    run("export", corpus, "--out", tmp_path / "o", "--force", "--no-clean", "--ids")
    settings = tmp_path / "export.toml"
    settings.write_text('format = "sharegpt"\ntrain = 1.0\nvalidation = 0.0\ntest = 0.0\n')
    run("export", corpus, "--out", tmp_path / "p", "--config", settings)
    assert [path.name for path in (tmp_path / "p" / "data").iterdir()] == ["train.jsonl"]
    assert "format" in run("export", corpus, "--out", tmp_path / "q", "--format", "xml", code=2)


def test_a_wrong_path_starts_no_review(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["review", "start", str(tmp_path / "none")])
    assert isinstance(result.exception, DataError)
    assert not (tmp_path / "none").exists()


def test_a_review_killed_at_the_terminal_loses_no_answer(corpus: Path) -> None:
    command = [sys.executable, "-m", "warmline.cli", "review", "next", str(corpus),
               "--reviewer", "ada"]  # fmt: skip
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None
    process.stdin.write(b"a\n")
    process.stdin.flush()

    def answered() -> list[str]:
        with ReviewStore(corpus) as store:
            return [decision.episode for decision in store.decisions()]

    while process.poll() is None and not answered():
        time.sleep(0.02)
    process.kill()  # while it asks about the second dialogue
    assert process.wait() == -signal.SIGKILL
    [first] = answered()
    shown = run("review", "next", corpus, "--reviewer", "ada", typed="a\n")
    assert "nothing left to review" in shown
    assert sorted(answered()) == ["grave", "mild"]
    assert answered()[0] == first
