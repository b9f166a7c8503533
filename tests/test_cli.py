"""The command line, run as a user runs it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

import warmline
from warmline.policies.registry import known_policies

COMMAND = [sys.executable, "-m", "warmline.cli"]


def run(*arguments: object, code: int = 0, **env: str) -> str:
    """Run the command; returns what it printed on both streams."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1", **env},
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def scripted(out: Path, *more: object) -> list[object]:
    return ["simulate", "--policy", "scripted", "--max-turns", 4, "--out", out, *more]


def test_simulate_show_and_read_back(tmp_path: Path) -> None:
    out = tmp_path / "run"
    printed = run(*scripted(out, "--episodes", 3, "--seed", 5))
    assert "Seeker: This is line 1 of the seeker." in printed
    assert "research software" in printed
    episodes = warmline.read_episodes(out)
    assert len(episodes) == 3
    shown = run("show", out, "--id", episodes[0].id, "--prompts")
    assert episodes[0].scenario.problem_type in shown
    assert "You play a person" in shown
    assert episodes[1].id not in shown
    (line,) = run("show", out, "--json", "--id", episodes[0].id).splitlines()
    assert json.loads(line)["id"] == episodes[0].id


def test_the_same_command_resumes_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    run(*scripted(tmp_path, "--episodes", 2))
    run(*scripted(tmp_path, "--episodes", 4))
    assert len(warmline.read_episodes(tmp_path)) == 4
    refused = run(*scripted(tmp_path, "--episodes", 4, "--seed", 9), code=2)
    assert "seed: 0 -> 9" in refused


def test_a_file_and_roles_and_options(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(f'policy = "scripted"\nepisodes = 2\nmax_turns = 8\nout = "{tmp_path}/r"\n')
    run("simulate", "--config", file, "--max-turns", 2, "--seeker.temperature", 0.25, "--no-judger.seated",
        "--counselor.options", "record=false")  # fmt: skip
    (episode, _) = warmline.read_episodes(tmp_path / "r")
    calls = {call.role: call for call in episode.calls}
    assert len(episode.utterances) == 2
    assert calls["seeker"].sampling.temperature == 0.25
    assert "judger" not in calls
    run("simulate", "--config", tmp_path / "r" / "config.toml")


def test_a_users_own_policy_by_import_string(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from warmline import Reply\n"
        "class Parrot:\n"
        "    def __init__(self, word='Polly'): self.word = word\n"
        "    async def respond(self, request): return Reply(text=f'{self.word} hears.')\n"
    )
    out = tmp_path / "run"
    run(*scripted(out, "--episodes", 1, "--supporter.policy", "mine:Parrot",
                  "--supporter.options", "word=Coco"), PYTHONPATH=str(tmp_path))  # fmt: skip
    assert warmline.read_episodes(out)[0].utterances[1].text == "Coco hears."


def test_help_lists_every_option() -> None:
    text = run("simulate", "--help")
    fields = set(warmline.environments.RunSettings.model_fields) - {
        "seeker", "counselor", "supporter", "judger", "prices",
    }  # fmt: skip
    for name in fields:
        assert f"--{name.replace('_', '-')}" in text
    for role in ("seeker", "counselor", "supporter", "judger"):
        assert f"--{role}.policy" in text
    assert "--supporter.openings" in text
    assert "--judger.openings" not in text
    assert "(default 20)" in text
    assert "--prices" not in text, "a table is for the file only"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simulate", "--polcy", "x"], "--policy"),
        (["simulate", "--seeker.modle", "x"], "--seeker.model"),
        (["simulat"], "simulate"),
        (["simulate", "--policy", "scriptd"], "did you mean 'scripted'"),
        (["simulate", "--policy", "scripted", "--max-turns", "0"], "max_turns"),
        (["simulate", "--policy", "scripted", "--max-turns", "few"], "valid integer"),
        (["simulate", "--policy", "scripted", "--options", "record"], "is not key=value"),
        (["simulate", "--policy", "scripted", "--options", "recrod=1"], "did you mean 'record'"),
        (["simulate", "--policy", "scripted", "--scenarios", "gone.jsonl"], "gone.jsonl: no such"),
        (["simulate", "--config", "gone.toml"], "gone.toml: no such file"),
        (["simulate", "--policy", "scripted", "--problem-types", "Burn out"], "'Burnout'"),
        (["show", "gone"], "no episode log there"),
    ],
)
def test_bad_input_is_answered_with_a_message_and_code_2(
    arguments: list[str], message: str
) -> None:
    printed = run(*arguments, code=2)
    assert message in printed
    assert "Traceback" not in printed


def test_an_unreachable_server_is_named(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}/v1"
    printed = run("simulate", "--policy", "openai", "--base-url", url, "--model", "m",
                  "--out", tmp_path / "r", code=2)  # fmt: skip
    assert url in printed
    assert "Traceback" not in printed


FULL_DISK = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
from warmline.cli import main
sys.argv = ["warmline", *sys.argv[1:]]
main()
"""


def test_a_full_disk_ends_the_run_and_loses_nothing(tmp_path: Path) -> None:
    command = [str(part) for part in scripted(tmp_path, "--episodes", 30, "--quiet")]
    full = subprocess.run(
        [sys.executable, "-c", FULL_DISK, *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert full.returncode == 2
    assert "could not write episode" in full.stderr
    done = warmline.read_episodes(tmp_path)
    assert 0 < len(done) < 30
    run(*command)
    assert len(warmline.read_episodes(tmp_path)) == 30


SLOW = """
import asyncio
from warmline import Reply
class Slow:
    async def respond(self, request):
        await asyncio.sleep(0.05)
        return Reply(text="Well.")
"""


def slow_run(folder: Path, **changes: object) -> tuple[list[str], dict[str, str]]:
    """A run of 40 conversations that takes a while: its arguments and its environment."""
    (folder / "slow.py").write_text(SLOW)
    arguments = ["simulate", "--policy", "slow:Slow", "--max-turns", "4", "--no-judger.seated",
                 "--no-counselor.seated", "--episodes", "40", "--concurrency", "2",
                 "--out", str(folder / "run"), "--quiet"]  # fmt: skip
    arguments += [word for name, value in changes.items() for word in (f"--{name}", str(value))]
    return arguments, {**os.environ, "PYTHONPATH": str(folder), "COLUMNS": "200"}


def wait_for_the_first_episode(out: Path) -> None:
    while not (out / "episodes.jsonl").exists() or not (out / "episodes.jsonl").stat().st_size:
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_finishes_open_conversations_and_says_how_to_resume(
    number: int, code: int, tmp_path: Path
) -> None:
    arguments, env = slow_run(tmp_path)
    out = tmp_path / "run"
    process = subprocess.Popen(
        [*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env
    )
    wait_for_the_first_episode(out)
    process.send_signal(number)
    printed = process.communicate(timeout=30)[0]
    assert process.returncode == code
    assert "the same command again" in printed
    done = warmline.read_episodes(out)
    assert 1 <= len(done) < 40
    assert all(len(episode.utterances) == 4 for episode in done)
    assert json.loads((out / "summary.json").read_text())["episodes"] == len(done)
    if number == signal.SIGINT:
        run(*arguments, PYTHONPATH=str(tmp_path))
        assert len(warmline.read_episodes(out)) == 40


def test_what_does_not_fit_into_the_grace_is_dropped_and_the_summary_written(
    tmp_path: Path,
) -> None:
    arguments, env = slow_run(tmp_path, grace=0)
    out = tmp_path / "run"
    process = subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, text=True, env=env)
    wait_for_the_first_episode(out)
    process.send_signal(signal.SIGTERM)
    printed = process.communicate(timeout=30)[0]
    assert process.returncode == 143
    assert "what was open is dropped" in printed
    assert json.loads((out / "summary.json").read_text())["episodes"] == len(
        warmline.read_episodes(out)
    )


IN_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""


def test_a_closed_terminal_ends_no_conversation_halfway(tmp_path: Path) -> None:
    arguments, env = slow_run(tmp_path)
    out = tmp_path / "run"
    ours, theirs = os.openpty()

    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, *COMMAND, *arguments],
        env=env, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    wait_for_the_first_episode(out)
    os.close(ours)  # the terminal's window is closed: the kernel sends SIGHUP
    assert process.wait(timeout=30) == 129
    done = warmline.read_episodes(out)
    assert all(len(episode.utterances) == 4 for episode in done)
    assert json.loads((out / "summary.json").read_text())["episodes"] == len(done) < 40


def test_doctor_and_types_and_version() -> None:
    report = run("doctor")
    for name in known_policies():
        assert f"policy {name}" in report
    said = " ".join(line for line in run("doctor").split("policy ") if line.startswith("openai"))
    assert re.sub(r"[\s│|]+", " ", said).count("choices, schema, max_sentences, prefill, logprobs")
    if find_spec("vllm") is None:
        assert "pip install 'warmline[vllm]'" in report
    assert len(re.findall(r"^[│|]", run("types"), re.MULTILINE)) >= 45
    assert run("--version").strip() == f"warmline {warmline.__version__}"


def test_a_dry_run_estimates_and_writes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('[prices."scripted"]\nprompt = 1\ncompletion = 2\n')
    out = tmp_path / "run"
    printed = run("simulate", "--config", file, "--policy", "scripted", "--episodes", 10, "--max-turns", 6,
                  "--out", out, "--dry-run")  # fmt: skip
    assert "10 episodes" in printed
    assert re.search(r"supporter\s*│\s*30\s*│", printed)
    assert not out.exists()


def test_a_dry_run_looks_at_what_is_there(tmp_path: Path) -> None:
    given = ("simulate", "--policy", "scripted", "--max-turns", 4, "--out", tmp_path / "run")
    run(*given, "--episodes", 2, "--quiet")
    assert "holds 2 of them already; 3 would be played" in run(*given, "--episodes", 5, "--dry-run")
    refused = run(*given[:-1], tmp_path / "run", "--seed", 3, "--dry-run", code=2)
    assert "seed" in refused


OWN = """
import warnings
import warmline

class Own:
    async def respond(self, request):
        return warmline.Reply("I am listening.")
"""


def test_an_own_policy_lies_in_the_folder_where_one_works(tmp_path: Path) -> None:
    (tmp_path / "mine_to_listen.py").write_text(OWN)
    entry = [sys.executable, "-c", "import sys; sys.path = [p for p in sys.path if p]\n"
             "from warmline.cli import main; main()"]  # fmt: skip
    done = subprocess.run(
        [*entry, *map(str, scripted(tmp_path / "run", "--supporter.policy", "mine_to_listen:Own")),
         "--episodes", "1"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (episode,) = warmline.read_episodes(tmp_path / "run")
    assert episode.utterances[1].text == "I am listening."


def test_warnings_are_one_line_without_our_paths(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import warnings

    from warmline import cli
    from warmline.policies import base

    monkeypatch.setattr(warnings, "showwarning", cli._show_warning)
    warnings.showwarning("a seed is not sent", UserWarning, base.__file__, 3)
    monkeypatch.setattr(sys, "warnoptions", [])
    warnings.showwarning("old", DeprecationWarning, "/own/other.py", 7)
    warnings.showwarning("older", DeprecationWarning, pytest.__file__, 7)
    warnings.showwarning("oldest", DeprecationWarning, warnings.__file__, 7)
    printed = capsys.readouterr().err.splitlines()
    assert printed[0] == "warning: a seed is not sent"
    assert printed[1].startswith("/own/other.py:7: DeprecationWarning: old")
    assert len(printed) == 2
    monkeypatch.setattr(sys, "warnoptions", ["default"])
    warnings.showwarning("older", DeprecationWarning, pytest.__file__, 7)
    assert "DeprecationWarning: older" in capsys.readouterr().err


def test_bars_of_libraries_are_off_in_a_command() -> None:
    code = "from warmline.cli import main; import sys; sys.argv = ['warmline', '--version']\n"
    code += (
        "try: main()\nexcept SystemExit: pass\nfrom tqdm.auto import tqdm; print(tqdm([1]).disable)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "True"


def test_commands_that_take_long_say_so_before_they_are_given_anything(tmp_path: Path) -> None:
    asked = run("evaluate", code=2)
    assert "one call for each reply" in asked
    assert "--limit 2" in asked
    told = run("reproduce", "--out", tmp_path / "out")
    assert re.search(r"# 13 stages, about \d+ minutes in all", told)
    assert "to run them: warmline reproduce --preset cpu" in told
    assert not (tmp_path / "out").exists()


def test_show_says_how_many_there_are(tmp_path: Path) -> None:
    run(*scripted(tmp_path / "run", "--episodes", 5, "--quiet"))
    assert "2 of 5 conversations" in run("show", tmp_path / "run", "--limit", 2)
    assert "conversations;" not in run("show", tmp_path / "run")


def test_a_hint_names_our_command_as_it_can_be_typed_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from warmline.cli import as_called

    hint = "no warmline run; `warmline show PATH` prints it, import warmline reads it"
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [".venv/bin/warmline", "show"])
    assert as_called(hint) == hint.replace("`warmline", "`.venv/bin/warmline")
    monkeypatch.setattr(sys, "argv", ["cli.py", "show"])
    assert as_called(hint) == hint.replace("`warmline", "`python -m warmline.cli")
    (tmp_path / "warmline").touch(0o755)
    assert as_called(hint) == hint
