"""What is printed cannot command a terminal, and never stops a command."""

import ast
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from warmline.core.outside.console import SafeConsole, echo, echo_json

ROOT = Path(__file__).parents[3]
ROOMS = ("core", "policies", "agents", "environments", "evaluation", "training")
HOSTILE = "\x1b]52;c;aGk=\x07 \x1b[2J \x9b31m \u202e [bold]x[/] [/] :smile: \ud800"
SHOWN = "␛]52;c;aGk=␇ ␛[2J �31m � [bold]x[/] [/] :smile: �"


@pytest.mark.parametrize(
    "thing", [HOSTILE, Text(HOSTILE), Text.assemble((HOSTILE, "red")), Panel(HOSTILE)]
)
def test_control_characters_are_shown_as_symbols(thing: object) -> None:
    out = io.StringIO()
    SafeConsole(file=out, width=200, force_terminal=True, color_system=None).print(thing)
    assert not set(out.getvalue()) & {"\x07", "\x9b", "\u202e", "\ud800"}
    assert "\x1b]52" not in out.getvalue()
    assert "\x1b[2J" not in out.getvalue()
    assert "[bold]x[/] [/] :smile:" in out.getvalue()


def test_tables_titles_and_live_displays_are_safe_too() -> None:
    out = io.StringIO()
    console = SafeConsole(file=out, width=200, force_terminal=True, color_system=None)
    table = Table(HOSTILE, title=HOSTILE)
    table.add_row(HOSTILE)
    with Live(table, console=console):
        pass
    assert out.getvalue().count(SHOWN) >= 2
    assert "\x1b]52" not in out.getvalue()
    assert "\x1b[?25l" in out.getvalue(), "the console's own commands still work"


def test_json_stays_json_in_any_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"said": "é 🙂 \x1b[2J \x9b \u202e\u2028 \x7f"}
    for encoding in ("utf-8", "cp1252", "ascii"):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding, write_through=True))
        echo_json(json.dumps(value, ensure_ascii=False))
        line = raw.getvalue().decode(encoding)
        assert json.loads(line) == value
        assert not set(line) & {"\x1b", "\x9b", "\u202e", "\u2028", "\x7f"}


def test_echo_is_printable(capsys: pytest.CaptureFixture[str]) -> None:
    echo("a\x1b]0;title\x07")
    assert capsys.readouterr().out == "a␛]0;title␇\n"


def test_everything_is_printed_through_these() -> None:
    """No other console, `print` or `typer.echo` in the package."""
    found = []
    files = [*ROOT.glob("*.py"), *(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))]
    for file in files:
        # one runs before the package is there, one shows a secret that these would hide
        if file.name in ("console.py", "written.py", "serving.py"):
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "Console", "rich.print", "print", "typer.echo", "typer.secho", "sys.stdout.write",
                "sys.stderr.write",
            ):  # fmt: skip
                found.append(f"{file.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node.func)}")
    assert found == []


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_an_output_that_is_not_utf8_stops_no_command(tmp_path: Path, encoding: str) -> None:
    lines = tmp_path / "policy_of_test.py"
    lines.write_text(
        "from warmline import Reply\n"
        "class Emoji:\n"
        "    async def respond(self, request):\n"
        "        return Reply(text='Hello \\U0001f642 \\x1b[2J \\ud800 很.')\n"
    )
    env = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONPATH": str(tmp_path), "COLUMNS": "80"}
    run = ["simulate", "--policy", "policy_of_test:Emoji", "--episodes", "1", "--max-turns", "2"]
    for arguments in ([*run, "--out", str(tmp_path / "run")], ["show", str(tmp_path / "run")]):
        done = subprocess.run(
            [sys.executable, "-m", "warmline.cli", *arguments],
            capture_output=True, env=env, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr.decode(encoding, "replace")
        assert b"Hello" in done.stdout
        assert b"\x1b[2J" not in done.stdout
