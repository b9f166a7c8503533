"""What `warmline simulate` says and returns when episodes failed."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from warmline.cli import app

MODULE = """
import warmline
from warmline.core.errors import BadRequest

def failing(share):
    def answer(request):
        number = int(request.session.split("/")[0].removeprefix("s"))
        if number % 3 < share:
            raise BadRequest("refused")
        return "Well."
    return answer

def third(): return warmline.ScriptedPolicy(failing(1))
def all_of_them(): return warmline.ScriptedPolicy(failing(3))
def none(): return warmline.ScriptedPolicy(failing(0))
"""


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    (tmp_path / "failing_some.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    lines = "".join(
        f'{{"id": "s{n}", "problem_type": "Job Crisis", "situation": "The bakery closed."}}\n'
        for n in range(6)
    )
    (tmp_path / "scenarios.jsonl").write_text(lines)
    return ["simulate", "--scenarios", str(tmp_path / "scenarios.jsonl"), "--max-turns", "2",
            "--no-judger.seated", "--no-counselor.seated", "--out", str(tmp_path / "run"),
            "--quiet"]  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "code", "said"),
    [
        ("third", 0, "2 of 6 episodes failed (BadRequest 2): the same command with --retry-failed"),
        ("all_of_them", 3, "6 of 6 episodes failed (BadRequest 6): the same command with"),
    ],
)
def test_failed_episodes_are_counted_and_all_of_them_are_an_exit_code(
    policy: str, code: int, said: str, base: list[str]
) -> None:
    done = CliRunner().invoke(app, [*base, "--policy", f"failing_some:{policy}"])
    assert done.exit_code == code, done.output
    assert said in done.stdout
    shown = CliRunner().invoke(app, ["show", base[-2]])
    assert "BadRequest: refused" in shown.stdout, "one who has no answers is told why"
    again = CliRunner().invoke(app, [*base, "--policy", f"failing_some:{policy}"])
    assert again.exit_code == code, "a resume finds the same"


def test_a_run_without_failures_says_nothing_of_them(base: list[str]) -> None:
    done = CliRunner().invoke(app, [*base, "--policy", "failing_some:none"])
    assert done.exit_code == 0, done.output
    assert "--retry-failed" not in done.stdout
