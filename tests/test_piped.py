"""Commands that run long say how far they are where their output is piped, and keep it apart."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from warmline.cli import app
from warmline.core.outside import progress


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "seeds"
    done = CliRunner().invoke(app, ["import", "seeds", "--out", str(folder)])
    assert done.exit_code == 0, done.output
    return folder


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("import seeds --out OUT/seeds", "450 dialogues read"),
        ("analyze CORPUS --no-figures", "450 dialogues read"),
        ("export CORPUS --out OUT/export --no-clean", "450 dialogues read"),
        ("report CORPUS --out OUT/report.html", "450 conversations read"),
    ],
)
def test_a_line_now_and_then(
    words: str, count: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY", 0.0)
    given = words.replace("CORPUS", str(corpus)).replace("OUT", str(tmp_path)).split()
    done = CliRunner().invoke(app, given)
    assert done.exit_code == 0, done.output
    assert count in done.stderr.splitlines()
    assert count not in done.stdout.splitlines()
