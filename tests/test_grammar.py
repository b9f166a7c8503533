"""One grammar for all commands (`docs/decisions/2026-11-29-one-grammar-for-commands.md`): each rule is
asked of every command there is, so that a new one cannot depart from it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from warmline.cli import COMMANDS, app
from warmline.core.outside.commands import HelpfulCommand, LazyGroup

ROOT: Any = typer.main.get_command(app)


def walk(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that does something, with the words that call it."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name in command.list_commands(None):
        yield from walk(command.get_command(None, name), (*path, name))


EVERY = dict(walk(ROOT))
PATHS = [*EVERY, (), ("train",), ("review",), ("study",)]
each_path = pytest.mark.parametrize("path", PATHS, ids=lambda path: " ".join(path) or "warmline")
each = pytest.mark.parametrize("path", EVERY, ids=" ".join)


def arguments(path: tuple[str, ...]) -> list[Any]:
    return [p for p in EVERY[path].params if p.param_type_name == "argument"]


def options(path: tuple[str, ...]) -> dict[str, Any]:
    """The options that the help shows, by their first name."""
    return {
        p.opts[0]: p for p in EVERY[path].params if p.param_type_name == "option" and not p.hidden
    }


@cache
def help_of(path: tuple[str, ...], columns: int = 80) -> str:
    environment = {"COLUMNS": str(columns), "NO_COLOR": "1"}
    done = CliRunner().invoke(app, [*path, "--help"], env=environment)
    assert done.exit_code == 0, done.output
    return done.output


def test_there_are_commands() -> None:
    assert len(EVERY) > 40
    assert ("train", "sft") in EVERY
    assert ("review", "next") in EVERY


@each_path
def test_help_fits_80_columns_and_cuts_no_name(path: tuple[str, ...]) -> None:
    shown = help_of(path)
    assert max(map(len, shown.splitlines())) <= 80
    assert not re.search(r"--\S*…", shown)
    for name in options(path) if path in EVERY else ():
        assert re.search(rf"^  {re.escape(name)}\b", shown, re.MULTILINE), name


@each
def test_every_parameter_says_what_it_is(path: tuple[str, ...]) -> None:
    """And names are words joined by hyphens, with the seat in front."""
    for name, option in options(path).items():
        assert option.help, name
        assert re.fullmatch(r"--[a-z]+(-[a-z]+)*(\.[a-z]+(-[a-z]+)*)?", name), name
    assert all(argument.help for argument in arguments(path))


@each
def test_a_panel_has_at_most_twenty_options(path: tuple[str, ...]) -> None:
    panels = Counter(option.rich_help_panel for option in options(path).values())
    assert max(panels.values(), default=0) <= 20, panels


@each
def test_what_decides_no_word_is_shown_last(path: tuple[str, ...]) -> None:
    """Workers and processes are for few: they must not stand before a command's own options."""
    shown = dict.fromkeys(p.rich_help_panel for p in options(path).values())
    behind = [panel.startswith(("Workers", "Processes")) for panel in shown if panel is not None]
    assert behind == sorted(behind), list(shown)


@each
def test_settings_come_from_a_file_in_one_way(path: tuple[str, ...]) -> None:
    """Whatever takes an engine's or a trainer's settings takes them from `--config` too."""
    assert not options(path).keys() & {"--settings", "--config-file", "--file"}
    has_record = any(option.rich_help_panel for option in options(path).values())
    assert ("--config" in options(path)) is has_record or path == ("preview",)
    studies = path[0] == "study" or path == ("serve",)  # a study is its file
    assert studies or all(argument.name not in ("file", "config") for argument in arguments(path))


@each
def test_what_a_command_works_on_stands_bare(path: tuple[str, ...]) -> None:
    assert not options(path).keys() & {
        "--data", "--run", "--runs-folder", "--log", "--folder", "--episodes-log", "--input",
    }  # fmt: skip
    if path[0] == "train" or path[0] in ("candidates", "pairs", "evolve"):
        assert [argument.name for argument in arguments(path)] == ["data"]


@each
def test_sizes_have_two_words(path: tuple[str, ...]) -> None:
    """`--episodes` is how many are made, `--limit` how many of what is there are taken."""
    named = options(path).keys()
    others = {"--contexts", "--dialogues", "--sample", "--count", "--number", "--size", "--max"}
    assert not named & others
    if "--episodes" in named and path != ("calibrate",):
        assert not arguments(path)


@each
def test_a_seat_is_named_the_same_way_everywhere(path: tuple[str, ...]) -> None:
    """A bare `--policy` is that of the command's own speakers; a judge is `--judge.policy`."""
    named = options(path)
    seats = {name.partition(".")[0][2:] for name in named if name.endswith(".policy")}
    for seat in seats:
        assert {f"--{seat}.model", f"--{seat}.base-url", f"--{seat}.temperature"} <= named.keys()
    assert not {f"--{seat}-policy" for seat in ("judge", "seeker", "supporter")} & named.keys()
    assert not {"--judge", "--judge-concurrency"} & named.keys()
    if path == ("judge",):
        assert "--policy" not in named


@each
def test_flags_of_output_mean_the_same(path: tuple[str, ...]) -> None:
    for name in ("--json", "--quiet", "--dry-run", "--force"):
        if name in options(path):
            assert options(path)[name].is_flag
            assert not options(path)[name].secondary_opts


def test_every_command_stands_in_a_panel_and_is_described_once() -> None:
    """The line in the list of commands is the first paragraph of the command's own help."""
    for group in (ROOT, ROOT.get_command(None, "train")):
        assert isinstance(group, LazyGroup)
        for entries in group.listing.values():
            for name, entry in entries.items():
                command = group.get_command(None, name)
                first = " ".join(command.help.partition("\n\n")[0].split())
                assert first == entry.about, name
    assert all(isinstance(command, HelpfulCommand) for command in EVERY.values())
    assert max(len(entries) for entries in COMMANDS.values()) <= 10


@pytest.mark.parametrize("words", [("simulate",), ("build",), ("reproduce",)])
def test_a_settings_file_that_stands_bare_is_told_where_it_belongs(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, [*words, "mine.toml"])
    assert done.exit_code == 2
    assert "--config mine.toml" in done.output


@pytest.mark.parametrize(
    "path", [path for path in EVERY if any(p.required for p in arguments(path))], ids=" ".join
)
def test_a_missing_argument_is_told_with_what_it_would_be(path: tuple[str, ...]) -> None:
    needed = [p for p in arguments(path) if p.required]
    done = CliRunner().invoke(app, [*path], env={"COLUMNS": "300", "NO_COLOR": "1"})
    assert done.exit_code == 2
    assert f"Missing argument '{needed[0].name}'. {needed[0].help}" in done.output


def test_a_mistyped_command_is_answered_with_the_right_one() -> None:
    done = CliRunner().invoke(app, ["evalute", "x"])
    assert done.exit_code == 2
    assert "Did you mean 'evaluate'" in done.output


LIGHT = """
import json, sys
from warmline.cli import app
found = {}
for path in json.loads(sys.argv[1]):
    app([*path, "--help"], standalone_mode=False)
    if now := sorted(set(json.loads(sys.argv[2])) & sys.modules.keys() - set(sum(found.values(), []))):
        found[" ".join(path)] = now
print(json.dumps(found), file=sys.stderr)
"""
HEAVY = ["torch", "transformers", "numpy", "sklearn", "matplotlib", "openai", "jinja2", "xllamacpp",
         "autogen_core", "autogen_agentchat", "requests", "fastapi", "ray"]  # fmt: skip


def imported(paths: list[tuple[str, ...]], forbidden: list[str]) -> dict[str, list[str]]:
    """What of the forbidden modules the help of these commands imports, by command."""
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, json.dumps(paths), json.dumps(forbidden)],
        capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "80"},
    )  # fmt: skip
    assert done.stdout.count("Usage:") == len(paths)
    found: dict[str, list[str]] = json.loads(done.stderr)
    return found


def test_the_list_of_commands_imports_no_command() -> None:
    modules = {f"warmline.{e.module}" for entries in COMMANDS.values() for e in entries.values()}
    assert imported([()], [*HEAVY, *modules, "rich.markdown"]) == {}


def test_the_help_of_no_command_imports_an_engine_or_an_agent() -> None:
    assert imported(list(EVERY), HEAVY) == {}


@pytest.mark.parametrize(
    ("typed", "completed"),
    [("sim", ["simulate"]), ("judge --li", ["--limit"]), ("train s", ["sft", "scorer"])],
)
def test_the_shell_completes_commands_and_options(typed: str, completed: list[str]) -> None:
    words = f"warmline {typed}"
    asked = {"_WARMLINE_COMPLETE": "complete_bash", "COMP_WORDS": words,
             "COMP_CWORD": str(len(words.split()) - 1)}  # fmt: skip
    code = "import sys; sys.argv = ['warmline']; from warmline.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, **asked},
    )
    assert done.stdout.split() == completed
