"""Whatever a file, a path or a model brings, a command gives a result or one clear error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import warmline
from warmline.cli import main
from warmline.environments.episodes.episode import Episode
from warmline.policies.base import Reply, Request

HOSTILE = "\x1b]52;c;aGk=\x07\x1b[2J\x9b1m \u202e [/] \ud800"
FORBIDDEN = ("\x1b]52", "\x1b[2J", "\x07", "\x9b", "\u202e", "\ud800")


class Command:
    """Runs a command in this process; a traceback is an exception of the test."""

    def __init__(self, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> None:
        self._capsys, self._patch = capsys, patch
        patch.setenv("COLUMNS", "200")

    def __call__(self, *arguments: object, code: int = 0) -> str:
        self._patch.setattr(sys, "argv", ["warmline", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            main()
        found = self._capsys.readouterr()
        assert (left.value.code or 0) == code, found.out + found.err
        return found.out + found.err


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(capsys, monkeypatch)


class Hostile:
    """Says what a terminal should not hear."""

    name = "hostile \x1b]0;title\x07"

    async def respond(self, request: Request) -> Reply:
        if request.choices:
            return Reply(request.choices[0])
        return Reply(f"Hello {HOSTILE} there, number {len(request.messages)}. " * 3)


def lines_of(folder: Path, count: int = 2) -> list[dict[str, Any]]:
    """A run's records, as plain data."""
    warmline.simulate(
        policy="scripted", counselor=False, judger=False, episodes=count, max_turns=4, out=folder
    )
    return [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]


# what is shown


def test_a_hostile_model_commands_no_terminal(tmp_path: Path, command: Command) -> None:
    out = tmp_path / "run"
    path = f"{__name__}:Hostile"
    printed = command("simulate", "--policy", path, "--episodes", 1, "--max-turns", 4, "--out", out)
    printed += command("show", out, "--prompts")
    printed += command("clean", out)
    printed += command("review", "start", out)
    printed += command("review", "next", out, "--reviewer", "a")
    printed += command("report", out)
    assert "Hello ␛]52;c;aGk=" in printed
    assert "␛[2J�1m � [/] � there" in printed
    for mark in FORBIDDEN:
        assert mark not in printed, ascii(mark)
    shown = command("show", out, "--json")
    assert all(mark not in shown for mark in FORBIDDEN)
    assert Episode.model_validate(json.loads(shown)) == warmline.read_episodes(out)[0]


def test_names_in_square_brackets_are_names(tmp_path: Path, command: Command) -> None:
    out = tmp_path / "runs" / "[" / "]"
    run = ("simulate", "--policy", "scripted", "--episodes", 1, "--max-turns", 2, "--out", out)
    assert str(out) in command(*run)
    command("show", out)
    assert "no episode log there" in command("show", tmp_path / "[/bold]", code=2)


# what is written


WRITERS: dict[str, Callable[[Path, Path], tuple[object, ...]]] = {
    "simulate": lambda run, out: ("simulate", "--policy", "scripted", "--out", out),
    "build": lambda run, out: ("build", "--policy", "scripted", "--episodes", 1, "--out", out),
    "export": lambda run, out: ("export", run, "--out", out),
    "import": lambda run, out: ("import", "auto", run / "source.json", "--out", out),
    "analyze": lambda run, out: ("analyze", run, "--out", out),
    "evaluate": lambda run, out: ("evaluate", run, "--policy", "scripted", "--out", out),
    "judge": lambda run, out: (
        "judge",
        run,
        "--judge.policy",
        "scripted",
        "--out",
        out / "r.jsonl",
    ),
    "report": lambda run, out: ("report", run, "--out", out / "page.html"),
}


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("place", ["a file", "below a file", "a folder that may not be written"])
def test_an_output_that_cannot_be_written_is_an_error(
    name: str, place: str, tmp_path: Path, command: Command
) -> None:
    run = tmp_path / "run"
    lines_of(run)
    (run / "source.json").write_text(
        json.dumps([{"dialog": [{"speaker": "seeker", "content": "I am sad."},
                                {"speaker": "supporter", "content": "I hear you."}] * 3,
                     "emotion_type": "sadness", "problem_type": "job crisis", "situation": "x"}])
    )  # fmt: skip
    (tmp_path / "file").write_text("mine")
    out = {"a file": tmp_path / "file", "below a file": tmp_path / "file" / "sub"}.get(
        place, Path("/proc/self/nowhere")
    )
    printed = command(*WRITERS[name](run, out), code=2)
    assert "error: " in printed
    assert str(out) in printed.replace("\n", "")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("out", ["episodes.jsonl", "episodes-3.jsonl", "copy.jsonl"])
def test_nothing_else_is_written_onto_a_log(out: str, tmp_path: Path, command: Command) -> None:
    run = tmp_path / "run"
    lines_of(run)
    log = (run / "episodes.jsonl").read_bytes()
    (tmp_path / "copy.jsonl").write_bytes(log)
    file = tmp_path / out if out == "copy.jsonl" else run / out
    before = file.read_bytes() if file.is_file() else None
    command("review", "start", run)
    for arguments in (
        ("report", run, "--out", file),
        ("review", "export", run, "--out", file),
        ("judge", run, "--judge.policy", "scripted", "--out", file),
    ):
        assert "error: " in command(*arguments, code=2), arguments
        assert (file.read_bytes() if file.is_file() else None) == before


def test_a_report_replaces_nothing_but_a_page(tmp_path: Path, command: Command) -> None:
    lines_of(tmp_path)
    notes = tmp_path / "notes.md"
    notes.write_text("mine")
    assert "not an HTML page" in command("report", tmp_path, "--out", notes, code=2)
    assert notes.read_text() == "mine"
    command("report", tmp_path)
    command("report", tmp_path)


# what is read


def with_line(
    change: Callable[[dict[str, Any]], object],
) -> Callable[[list[dict[str, Any]]], bytes]:
    def write(records: list[dict[str, Any]]) -> bytes:
        change(records[-1])
        return b"".join(json.dumps(record).encode() + b"\n" for record in records)

    return write


def plain(records: list[dict[str, Any]]) -> bytes:
    return with_line(lambda record: None)(records)


BROKEN: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "invalid UTF-8": lambda r: plain(r[:1]) + plain(r)[:80] + b"\xff\xfe\n",
    "a list as id": with_line(lambda r: r.update(id=["x"])),
    "a call out of range": with_line(lambda r: r["utterances"][0].update(call=99)),
    "a negative call": with_line(lambda r: r["utterances"][0].update(call=-1)),
    "a message out of range": with_line(lambda r: r["calls"][0].update(messages=[7000])),
    "deep nesting": lambda r: plain(r[:1]) + b'{"id":' + b"[" * 100_000 + b"\n",
    "a number of 5,000 digits": lambda r: plain(r[:1]) + b'{"version":' + b"9" * 5000 + b"}\n",
}
READERS: dict[str, Callable[[Path], tuple[object, ...]]] = {
    "show": lambda run: ("show", run),
    "resume": lambda run: (
        "simulate", "--policy", "scripted", "--episodes", 3, "--max-turns", 4,
        "--no-counselor.seated", "--no-judger.seated", "--out", run,
    ),
    "replay": lambda run: (
        "simulate", "--policy", "replay", "--supporter.options", f"path={run}", "--episodes", 1,
        "--seeker.options", f"path={run}", "--counselor.options", f"path={run}",
        "--judger.options", f"path={run}", "--out", run.parent / "again",
    ),
    "clean": lambda run: ("clean", run),
    "export": lambda run: ("export", run, "--out", run.parent / "export"),
    "analyze": lambda run: ("analyze", run),
    "judge": lambda run: ("judge", run, "--judge.policy", "scripted"),
    "report": lambda run: ("report", run),
    "review": lambda run: ("review", "start", run),
    "evaluate": lambda run: ("evaluate", run, "--policy", "scripted"),
}  # fmt: skip
NOT_READ = {("replay", "a call out of range"), ("replay", "a negative call")}
"""A replay reads the calls of a log, and not the utterances."""


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_line_is_one_error_in_every_command(
    fault: str, tmp_path: Path, command: Command
) -> None:
    run = tmp_path / "run"
    content = BROKEN[fault](lines_of(run))
    for name, arguments in READERS.items():
        if (name, fault) in NOT_READ:
            continue
        (run / "episodes.jsonl").write_bytes(content)
        printed = command(*arguments(run), code=2)
        assert "error: " in printed, name
        assert "episodes.jsonl" in printed.replace("\n", ""), (name, printed)


def test_half_a_character_blank_lines_and_a_missing_line_break_are_read(
    tmp_path: Path, command: Command
) -> None:
    run = tmp_path / "run"
    records = lines_of(run)
    records[0]["utterances"][0]["text"] = "half \ud800 of one"
    one, two = (json.dumps(record).encode() for record in records)
    assert rb"\ud800" in one
    (run / "episodes.jsonl").write_bytes(one + b"\n\n  \n" + two)
    assert [e.id for e in warmline.read_episodes(run)] == [r["id"] for r in records]
    assert "half � of one" in command("show", run)
    for name in ("export", "analyze", "judge", "report", "review", "evaluate", "clean"):
        # a scripted judge says nothing that can be read: exit code 3
        command(*READERS[name](run), code=3 if name == "judge" else 0)
    with warmline.environments.episodes.log.EpisodeLog(run / "episodes.jsonl") as log:
        assert len(log.finished) == 2
    assert (run / "episodes.jsonl").read_bytes() == one + b"\n\n  \n" + two + b"\n"


def test_a_copy_of_a_log_is_not_read_and_named(tmp_path: Path, command: Command) -> None:
    records = lines_of(tmp_path)
    log = tmp_path / "episodes.jsonl"
    for name in ("episodes-backup.jsonl", "episodes (1).jsonl", "episodes-2.jsonl"):
        (tmp_path / name).write_bytes(log.read_bytes())
    with pytest.warns(UserWarning, match=r"episodes \(1\)\.jsonl, episodes-backup\.jsonl is not"):
        found = list(warmline.environments.episodes.log.iter_episodes(tmp_path))
    assert len(found) == len(records), "the log and the numbered part, and nothing twice"
    for name in ("episodes.jsonl", "episodes-2.jsonl"):
        (tmp_path / name).unlink()
    assert "rename it" in command("show", tmp_path, code=2)


@pytest.mark.parametrize(
    "content",
    [b"\xff", b"a = " + b"[" * 100_000, b"seed = " + b"9" * 5000, b"seed = \n", b'x = "\\ud800"'],
)
def test_settings_that_cannot_be_read_are_an_error(
    content: bytes, tmp_path: Path, command: Command
) -> None:
    file = tmp_path / "run.toml"
    file.write_bytes(content)
    assert "run.toml" in command("simulate", "--config", file, code=2)


@pytest.mark.parametrize(
    "content", [b"\xff\n", b"[" * 100_000 + b"\n", b'{"a": ' + b"9" * 5000 + b"}\n"]
)
def test_other_files_that_cannot_be_read_are_an_error(
    content: bytes, tmp_path: Path, command: Command
) -> None:
    run = tmp_path / "run"
    lines_of(run)
    bad = tmp_path / "bad.json"
    bad.write_bytes(content)
    for arguments in (
        ("simulate", "--policy", "scripted", "--scenarios", bad),
        ("import", "auto", bad),
        ("judge", run, "--judge.policy", "scripted", "--rubric", bad),
        ("calibrate", bad, bad),
        ("evaluate", "--pairs", bad),
    ):
        assert "bad.json" in command(*arguments, code=2).replace("\n", ""), arguments
