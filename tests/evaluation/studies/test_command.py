"""The settings, the commands, and a talk in the terminal."""

from __future__ import annotations

import io
import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tests.evaluation.studies.sites import Voice, study_settings, voiced
from warmline.cli import app
from warmline.core.errors import ConfigError, DataError, MissingExtra, PolicyError
from warmline.environments.episodes.episode import StopReason
from warmline.environments.episodes.log import read_episodes
from warmline.evaluation.studies import chat as chat_module
from warmline.evaluation.studies.chat import talk
from warmline.evaluation.studies.database import StudyDatabase
from warmline.evaluation.studies.participants import Participants
from warmline.evaluation.studies.settings import load_study
from warmline.evaluation.studies.tasks import Answer, Item, Tasks
from warmline.policies.human.policy import HumanPolicy

DIALOGUES = 'title = "T"\nkind = "dialogues"\nout = "{out}"\nitems = ["corpus"]\n'


def command(*words: str) -> str:
    found = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return found.output


@pytest.fixture
def answered(tmp_path: Path) -> tuple[Path, str]:
    """A study in which one person answered, and its file."""
    file = tmp_path / "study.toml"
    file.write_text(DIALOGUES.format(out=tmp_path / "study"))
    settings = load_study(file)
    with StudyDatabase(settings.folder, identity={"study": {}}) as study:
        tasks, people = Tasks(study, settings), Participants(study)
        tasks.enrol([Item("e1", {"episode": "e1", "history": []})])
        who = people.by_token(people.join())
        assert who is not None
        task = tasks.hand_out(who)
        assert task is not None
        tasks.finish(task, [Answer("safety", 5.0, explanation="Pelicans.")])
    return file, who.name


def test_where_a_study_stands_what_comes_out_and_how_one_is_forgotten(answered: Any) -> None:
    file, name = answered
    found = json.loads(command("study", "status", str(file), "--json"))
    assert found["tasks"] == {"done": 1, "free": 2}
    assert found["raters"][0]["name"] == name
    assert name in command("study", "status", str(file))
    assert "1 ratings" in command("study", "results", str(file))
    assert "Pelicans." in command("study", "export", str(file), name)
    out = command("study", "forget", str(file), name, "--yes")
    assert "1 answers" in out
    for left in load_study(file).folder.iterdir():
        assert b"Pelicans" not in left.read_bytes()


def test_nobody_of_that_name_and_no_study_are_told(answered: Any, tmp_path: Path) -> None:
    file, _ = answered
    with pytest.raises(DataError, match="no participant 'p-none'"):
        command("study", "export", str(file), "p-none")
    other = tmp_path / "other.toml"
    other.write_text(DIALOGUES.format(out=tmp_path / "nothing"))
    with pytest.raises(DataError, match="no study there"):
        command("study", "results", str(other))
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "study.sqlite").write_text("this is no database, whatever its name says" * 50)
    with pytest.raises(DataError, match="cannot be used as a study"):
        StudyDatabase(folder)
    newer = tmp_path / "newer"
    StudyDatabase(newer, identity={}).close()
    with sqlite3.connect(newer / "study.sqlite") as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(DataError, match="a study of version 99"):
        StudyDatabase(newer)


def test_a_study_from_before_there_were_adjudicators_goes_on(tmp_path: Path) -> None:
    StudyDatabase(tmp_path, identity={}).close()
    with sqlite3.connect(tmp_path / "study.sqlite") as db:
        db.execute("DROP TABLE adjudicators")
    with StudyDatabase(tmp_path) as study:
        people = Participants(study)
        people.join()
        assert [who.adjudicates for who in people.all()] == [False]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('kind = "pointwise"', "needs at least 1 of"),
        ('kind = "pairwise"\n[models.a]\npolicy = "scripted"', "needs at least 2 of"),
        ('kind = "pairs"\nitems = ["a"]', "takes 2 items, not 1"),
        ('kind = "dialogues"\nitems = ["a"]\ncountry = "UK"', "no help lines for country 'UK'"),
        ('kind = "chat"\nmin_exchanges = 9\nmax_exchanges = 3\n[models.a]', "above max_exchanges"),
        ('kind = "pointwise"\nshow_strategy = true\n[models.a]', "unblind"),
        ('kind = "pairwise"\nearly = true\n[models.a]\n[models.b]', "one model answers"),
        ('kind = "pairs"\nitems = ["a", "b"]\ntags = ["x"]', "tags stand on rating pages"),
        ('kind = "dialogues"\nitems = ["a"]\ntags = ["x", "x"]', "two tags are the same"),
        ('kind = "chat"\nattention = [{ question = "q", options = ["a", "b"], answer = 1 }]\n[models.a]',
         "stand on rating pages"),
        ('kind = "dialogues"\nitem = ["a"]', "did you mean 'items'"),
        ('kind = "chat"\n[models."a b"]', "string should match"),
        ('kind = "chat"\n[models.a]\n[prolific]\ncode = "x"\nurl = "http://x"', "begin with https"),
        ('kind = "chat"\n[models.a]\n[[practice]]\nquestion = "q"\noptions = ["a", "b"]\nanswer = 3', "answer 3 of 2"),
    ],
)  # fmt: skip
def test_settings_that_do_not_fit_are_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "study.toml"
    file.write_text(f'title = "T"\nout = "o"\n{text}\n')
    with pytest.raises(ConfigError, match=words):
        load_study(file)


def typed(*lines: str) -> tuple[HumanPolicy, Console, io.StringIO]:
    said = list(lines)
    shown = io.StringIO()
    console = Console(file=shown, width=300)

    def read(prompt: str) -> str:
        if not said:
            raise EOFError
        return said.pop(0)

    return HumanPolicy(show_brief=False, console=console, read=read, country="IE"), console, shown


@pytest.fixture
def voice(monkeypatch: pytest.MonkeyPatch) -> Voice:
    """What answers in the chat."""
    found = Voice()
    monkeypatch.setattr(chat_module, "environments_of", lambda s: voiced(s, supporter=found))
    return found


def chatting(tmp_path: Path) -> Any:
    return study_settings(
        tmp_path,
        "chat",
        models={"supporter": {"policy": "scripted"}},
        country="IE",
        out=str(tmp_path),
    )


async def test_a_talk_in_the_terminal_is_an_episode(tmp_path: Path, voice: Voice) -> None:
    person, console, shown = typed(
        "I am low. It is dark. Day by day. All of it.", "I want to die.", "/go", "/end"
    )
    episode = await talk(chatting(tmp_path), person=person, console=console)
    assert episode is not None
    stored = read_episodes(tmp_path / "episodes.jsonl")
    assert [e.to_json() for e in stored] == [episode.to_json()]
    assert episode.stop is StopReason.LEFT
    assert [u.text for u in episode.utterances[::2]] == [
        "I am low. It is dark. Day by day. All of it.",
        "I want to die.",
    ]
    assert episode.utterances[2].crisis == ("suicide",)
    assert shown.getvalue().index("Samaritans") < shown.getvalue().index("/go to send")


async def test_a_message_that_was_held_and_not_sent_is_in_no_record(
    tmp_path: Path, voice: Voice
) -> None:
    person, console, _ = typed("Hello.", "I want to die.", "/end")
    episode = await talk(chatting(tmp_path), person=person, console=console)
    assert episode is not None
    assert voice.asked == 1
    assert "die" not in episode.to_json()


async def test_a_model_in_crisis_comes_with_help_lines_and_a_failure_keeps_the_talk(
    tmp_path: Path, voice: Voice
) -> None:
    voice.line = "Do you think of killing yourself?"
    person, console, shown = typed("I am low.", "Again.")
    original, calls = voice.respond, []

    async def once(request: Any) -> Any:
        calls.append(request)
        if len(calls) > 1:
            raise PolicyError("the engine is away")
        return await original(request)

    voice.respond = once  # type: ignore[method-assign]
    episode = await talk(chatting(tmp_path), person=person, console=console)
    assert episode is not None
    assert len(episode.utterances) == 2
    text = shown.getvalue()
    assert text.index("116 123") < text.index("killing yourself")
    assert "the engine is away" in text


async def test_nothing_said_nothing_stored(tmp_path: Path, voice: Voice) -> None:
    person, console, _ = typed("/end")
    assert await talk(chatting(tmp_path), person=person, console=console) is None
    assert (tmp_path / "episodes.jsonl").read_text() == ""
    voice.fails = 9
    person, console, _ = typed("Hello.")
    with pytest.raises(PolicyError, match="away"):
        await talk(chatting(tmp_path), person=person, console=console)


def test_a_model_that_cannot_be_opened_is_an_error_without_a_trace(
    tmp_path: Path,
) -> None:
    file = tmp_path / "study.toml"
    file.write_text(
        f"""title = "Listening"
kind = "chat"
out = "{(tmp_path / "study").as_posix()}"
models.one = {{policy = "embedded", model = "none.gguf"}}
contact.email = "n@example.org"
""",
        "utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "warmline.cli", "serve", str(file), "--port", "0"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert "error: no weights at none.gguf" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn", "python_multipart"])
def test_serving_without_its_libraries_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    here = "warmline.evaluation.studies.web."
    for name in [n for n in sys.modules if n.startswith(here) and n != f"{here}command"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    file = tmp_path / "study.toml"
    file.write_text(DIALOGUES.format(out=tmp_path / "study"))
    with pytest.raises(MissingExtra, match=r"warmline\[web\]"):
        command("serve", str(file))
    assert not (tmp_path / "study").exists()
