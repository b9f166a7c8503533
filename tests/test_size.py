"""What reads a log holds a few of its episodes, however many there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

import warmline
from warmline.cli import app
from warmline.core.tasks import run_sync
from warmline.environments.corpus.cleaning import CleanSettings, clean_run
from warmline.environments.corpus.exporting.export import export_corpus
from warmline.environments.corpus.folder import cleaned_episodes
from warmline.evaluation.analyses.corpus import read_corpus
from warmline.evaluation.judging.judge_run import judge_run
from warmline.evaluation.judging.settings import JudgeSettings
from warmline.evaluation.report import read_run
from warmline.training.rows.build import build_rows
from warmline.training.rows.settings import RowSettings
from warmline.training.rows.sources import load_episodes, split_episodes

from .environments.helpers import scenarios
from .live import Live, counting


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Live:
    return counting(monkeypatch)


def simulated(folder: Path, count: int) -> Path:
    policy = warmline.ScriptedPolicy(record=False)
    warmline.simulate(policy=policy, scenarios=scenarios(count), max_turns=4, out=folder)
    return folder


def clean(folder: Path) -> None:
    clean_run(folder, CleanSettings(skip=("near_duplicates",)))


def export(folder: Path) -> None:
    mine = "simulated here, from your own scenarios"
    export_corpus(folder, folder / "export", clean=False, accept_licences=(mine,))


def analyse(folder: Path) -> None:
    read_corpus(folder, sample=3)


def report(folder: Path) -> None:
    view = read_run(folder, shown=3)
    assert (len(view.episodes), view.conversations) == (3, len(warmline.read_episodes(folder)))


def judge(folder: Path) -> None:
    policy = warmline.ScriptedPolicy(lambda _: '{"reason": "fine", "score": 4}', record=False)
    run_sync(judge_run(folder, JudgeSettings(concurrency=2), policy=policy))
    run_sync(judge_run(folder, JudgeSettings(against=str(folder), concurrency=2), policy=policy))


def rows(folder: Path) -> None:
    for side in split_episodes(load_episodes([folder])[0], 0.2, 0):
        build_rows(side, RowSettings())


def read_cleaned(folder: Path) -> None:
    for _ in cleaned_episodes(folder):
        pass


@pytest.mark.parametrize("work", [export, analyse, report, judge, rows, read_cleaned])
def test_what_reads_a_log_holds_a_few_episodes_of_it(
    tmp_path: Path, live: Live, work: Callable[[Path], None]
) -> None:
    most = []
    for count in (20, 60):
        folder = simulated(tmp_path / str(count), count)
        live.most = live.now = 0
        work(folder)
        most.append(live.most)
    assert most[0] <= 8
    assert most[1] <= most[0]


def test_cleaning_holds_one_block_of_episodes(tmp_path: Path, live: Live) -> None:
    clean(simulated(tmp_path, 300))
    assert live.read == 300
    assert live.most <= 130


def test_preview_reads_what_it_shows(tmp_path: Path, live: Live) -> None:
    pytest.importorskip("torch", reason="the extra `transformers` is not installed")
    from .policies.tiny_models import save_causal
    from .training.building import TEMPLATE

    folder = simulated(tmp_path / "run", 40)
    model = save_causal(tmp_path / "model")
    command = ["preview", str(folder), "--model", str(model), "--limit", "3"]
    shown = CliRunner().invoke(app, [*command, "--template", TEMPLATE])
    assert shown.exit_code == 0, shown.output
    assert "episodes, the others were not read" in shown.output
    assert live.read <= 3
