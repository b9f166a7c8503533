"""What SDialog and PatientHub write: dialogues, profiles, and scenarios to play on."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import warmline
from warmline.cli import app
from warmline.core.errors import ConfigError, DataError, RunError, WarmlineError
from warmline.environments.corpus.importing.importers.base import BrokenRecord
from warmline.environments.corpus.importing.importers.tools import in_words, sdialog
from warmline.environments.corpus.importing.reader import Import
from warmline.environments.corpus.importing.scenarios import scenarios_from

from ..samples import PATIENTHUB, SDIALOG


def folder(path: Path, *records: dict[str, Any]) -> Path:
    """A file a record, indented, as both tools write them."""
    path.mkdir()
    for number, record in enumerate(records):
        (path / f"{number}.json").write_text(json.dumps(record, indent=2), "utf-8")
    return path


def test_a_dialogue_of_sdialog(tmp_path: Path) -> None:
    (episode,) = Import(folder(tmp_path / "in", SDIALOG))
    assert episode.source == "sdialog"
    assert [(u.role.value, u.text) for u in episode.utterances][:2] == [
        ("supporter", "What brings you here?"),
        ("seeker", "I lie awake and count the stops."),
    ]
    assert episode.scenario.situation == "He has not slept for a week."
    assert str(episode.scenario.profile).startswith("name: Tomas; age: 41; role: patient;")
    assert episode.annotations is not None
    assert episode.annotations["seed"] == 3
    assert "events" not in episode.annotations


def test_a_session_of_patienthub(tmp_path: Path) -> None:
    (episode,) = Import(folder(tmp_path / "in", PATIENTHUB))
    assert episode.source == "patienthub"
    assert [u.role.value for u in episode.utterances] == ["supporter", "seeker"]
    assert episode.scenario.situation == "Her sister asked her to the wedding."
    told = str(episode.scenario.profile)
    assert "type: plain, guarded" in told
    assert "core helpless belief: I am trapped." in told
    assert "empty" not in told


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"personas": {}}, "nothing tells which of 'Dr. Hale' and 'Ines'"),
        ({"turns": [{"speaker": "A", "text": "x"}]}, "two speakers are expected, not 1"),
        ({"turns": [{"speaker": "user", "text": 3}, {"speaker": "b", "text": "x"}]}, "no text"),
    ],
)
def test_what_cannot_be_told_is_refused(change: dict[str, Any], says: str) -> None:
    record = copy.deepcopy(SDIALOG) | change
    for turn in record["turns"]:
        turn["speaker"] = turn["speaker"].replace("Tomas", "Ines")
    if says.startswith("nothing"):
        for turn in record["turns"]:
            turn["speaker"] = turn["speaker"].replace("Dr. Hale", "Ada")
        says = "nothing tells which of 'Ada' and 'Ines'"
    with pytest.raises(BrokenRecord, match=says):
        sdialog(record)


def test_one_known_side_is_enough() -> None:
    record = copy.deepcopy(SDIALOG)
    record["personas"]["Dr. Hale"]["role"] = "friend"
    assert [turn.speaker for turn in sdialog(record).turns] == ["supporter", "seeker"] * 2


def test_characters_alone_become_scenarios_that_are_played(tmp_path: Path) -> None:
    characters, out = tmp_path / "characters.json", tmp_path / "scenarios.jsonl"
    characters.write_text(
        json.dumps([PATIENTHUB["profile"], {"history": "He moved twice."}]), "utf-8"
    )
    done = CliRunner().invoke(
        app,
        [
            "import",
            "patienthub",
            str(characters),
            "--scenarios",
            str(out),
            "--problem-type",
            "Breakups or Divorce",
        ],
    )
    assert done.exit_code == 0, done.output
    assert "2 scenarios written" in done.output
    played = warmline.simulate(policy="scripted", scenarios=out, max_turns=2, case_dialogues=0)
    assert [episode.scenario.id for episode in played] == ["patienthub-1", "patienthub-2"]
    asked = next(call for call in played[0].calls if call.role == "seeker")
    assert "Nobody wants me there" in played[0].call_messages(asked)[0].content
    other = next(call for call in played[0].calls if call.role == "supporter")
    assert "Nobody wants me there" not in str(played[0].call_messages(other))


def test_dialogues_and_personas_of_sdialog_become_scenarios(tmp_path: Path) -> None:
    persona = {"name": "Ola", "role": "patient", "background": "Keeps bees."}
    found = scenarios_from(
        folder(tmp_path / "in", SDIALOG, persona), "sdialog", problem_type="Health Problems"
    )
    assert [s.situation for s in found] == ["He has not slept for a week.", "Keeps bees."]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"problem_type": "Helth Problems"}, "did you mean 'Health Problems'"),
        ({"format": "esconv"}, "known: sdialog, patienthub"),
        ({}, r"0\.json.*tells no situation"),
    ],
)
def test_scenarios_that_cannot_be_made(tmp_path: Path, given: dict[str, Any], says: str) -> None:
    path = folder(tmp_path / "in", {"name": "Ola"})
    asked = {"format": "sdialog", "problem_type": "Health Problems"} | given
    with pytest.raises(WarmlineError, match=f"(?s){says}"):
        scenarios_from(path, **asked)


def test_a_file_that_is_there_is_left_alone_the_source_above_all(tmp_path: Path) -> None:
    source, other = tmp_path / "ph.json", tmp_path / "other.jsonl"
    source.write_text(json.dumps([PATIENTHUB]), "utf-8")
    other.write_text("kept")
    before = source.read_bytes()
    words = ["import", "patienthub", str(source), "--problem-type", "Job Crisis", "--scenarios"]
    for out in (source, other):
        done = CliRunner().invoke(app, [*words, str(out)])
        assert isinstance(done.exception, RunError)
        assert "is there already" in str(done.exception)
    assert (source.read_bytes(), other.read_text()) == (before, "kept")


@pytest.mark.parametrize(
    "given",
    [["--out", "o"], ["--stats"], ["--json"], ["--recipe", "merged"], ["--strict"],
     ["--limit", "1"], ["--name", "n"], ["--licence", "MIT"], ["--url", "u"]],
)  # fmt: skip
def test_what_would_change_nothing_beside_scenarios_is_refused(
    tmp_path: Path, given: list[str]
) -> None:
    source, out = tmp_path / "ph.json", tmp_path / "s.jsonl"
    source.write_text(json.dumps([PATIENTHUB]), "utf-8")
    words = ["--scenarios", str(out), "--problem-type", "Job Crisis", *given]
    done = CliRunner().invoke(app, ["import", "patienthub", str(source), *words])
    assert isinstance(done.exception, ConfigError)
    assert f"{given[0]} would change nothing" in str(done.exception)
    assert not out.exists()


def test_no_record_is_no_scenario(tmp_path: Path) -> None:
    source = tmp_path / "ph.json"
    source.write_text("[]")
    with pytest.raises(DataError, match="holds no record"):
        scenarios_from(source, "patienthub", problem_type="Job Crisis")


def test_a_profile_keeps_what_stands_in_lists_of_objects() -> None:
    about = {"deep": {"a": [1, {"b": 2, "c": [[3], {"d": "x"}]}, None]}, "none": [{}]}
    assert in_words(about) == "deep a: 1; deep a b: 2; deep a c: 3; deep a c d: x"


def test_control_characters_of_a_source_are_symbols_in_situation_and_profile(
    tmp_path: Path,
) -> None:
    record = copy.deepcopy(PATIENTHUB)
    record["profile"] = {"situation": "Late\0 \u202eagain", "name\u2066": "I\0da\x1b[2J"}
    path = folder(tmp_path / "in", record)
    (episode,) = Import(path)
    (scenario,) = scenarios_from(path, "patienthub", problem_type="Job Crisis")
    for found in (episode.scenario, scenario):
        assert found.situation == "Late␀ �again"
        assert str(found.profile) == "situation: Late␀ �again; name�: I␀da␛[2J"


def test_the_command_names_what_is_missing(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["import", "patienthub", "x.json", "--problem-type", "Burnout"])
    assert isinstance(done.exception, ConfigError)
    assert "a file to write" in str(done.exception)
