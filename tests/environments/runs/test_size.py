"""What is finished does not stay in memory: live episodes are counted at two sizes."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import warmline
from warmline.environments import Ended, Episodes, Resumed
from warmline.environments.corpus.cleaning import CleanSettings, clean_run
from warmline.environments.corpus.exporting.export import export_corpus
from warmline.environments.corpus.folder import cleaned_episodes
from warmline.environments.episodes import index, log
from warmline.environments.episodes.derived import derived_path
from warmline.environments.runs import finished, summary
from warmline.environments.runs.summary import TOTALS, summarize

from ..helpers import scenarios, talk
from .test_runner import environment


class Live:
    """Counts the episodes that were read or played and are still held by somebody."""

    def __init__(self) -> None:
        self.now = self.most = self.read = 0

    def watch(self, episode: warmline.Episode) -> warmline.Episode:
        self.now += 1
        self.most = max(self.most, self.now)
        weakref.finalize(episode, self._gone)
        return episode

    def _gone(self) -> None:
        self.now -= 1


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Live:
    counted, parse = Live(), index.parse_episode

    def parsed(line: str, file: Path, number: int) -> warmline.Episode:
        counted.read += 1
        return counted.watch(parse(line, file, number))

    monkeypatch.setattr(index, "parse_episode", parsed)
    monkeypatch.setattr(log, "parse_episode", parsed)
    return counted


@pytest.mark.parametrize("count", [20, 80])
async def test_a_run_holds_only_the_open_episodes(tmp_path: Path, live: Live, count: int) -> None:
    def observe(event: object) -> None:
        if isinstance(event, Ended):
            live.watch(event.episode)

    policy = warmline.ScriptedPolicy(record=False)
    made = await warmline.run_batch(
        environment(policy), scenarios(count), out=tmp_path, concurrency=4, observe=observe
    )
    assert isinstance(made, Episodes)
    assert live.read == 0
    assert live.most <= 8
    assert [e.id for e in made] == [f"s{n}" for n in range(count)]
    assert live.most <= 8


async def test_a_resume_reads_no_record_before_its_first_event(tmp_path: Path, live: Live) -> None:
    run: dict[str, Any] = {"out": tmp_path, "concurrency": 2}
    policy = warmline.ScriptedPolicy(record=False)
    await warmline.run_batch(environment(policy), scenarios(30), **run)
    read: list[int] = []

    def observe(event: object) -> None:
        read.append(live.read)
        if isinstance(event, Resumed):
            assert (len(event.episodes), event.failed) == (30, 0)
            assert sum(event.stops.values()) == 30

    await warmline.run_batch(environment(policy), scenarios(33), observe=observe, **run)
    assert read
    assert set(read) == {0}
    assert live.most <= 4, "the summary reads one after the other"
    written = json.loads((tmp_path / "summary.json").read_text("utf-8"))
    assert written == json.loads(json.dumps(summarize(warmline.read_episodes(tmp_path))))


async def test_sums_are_kept_and_only_for_the_same_episodes(
    tmp_path: Path, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(summary, "WORTH_KEEPING", 1)
    monkeypatch.setattr(index, "WORTH_KEEPING", 1)
    path = tmp_path / "summary.json"
    prices = {"scripted": warmline.environments.episodes.usage.Price(prompt=1, completion=2)}

    async def run(count: int, **more: Any) -> tuple[int, Any]:
        """Records read, and what the summary says of usage."""
        before = live.read
        await warmline.run_batch(environment(talk()), scenarios(count), out=tmp_path, **more)
        written = json.loads(path.read_text("utf-8"))
        last = [e for e in warmline.read_episodes(tmp_path) if int(e.id[1:]) < count]
        fresh = json.loads(json.dumps(summarize(last, more.get("prices"))))
        assert written == fresh
        return live.read - before - len(warmline.read_episodes(tmp_path)), written

    assert (await run(8))[0] == 0
    assert (await run(8))[0] == 0, "nothing is read where the same is asked for again"
    read, priced = await run(8, prices=prices)
    assert read == 0
    assert priced["usage"]["total"]["cost"] > 0
    assert (await run(10))[0] == 0
    assert (await run(5))[0] == 5, "the sums are of other episodes"
    kept = derived_path(tmp_path / "episodes.jsonl", TOTALS)
    assert (await run(5))[0] == 0
    kept.write_text(kept.read_text("utf-8").replace('"episodes":5', '"episodes":6'), "utf-8")
    assert (await run(5))[0] == 5, "and what was changed is not used"


async def test_only_the_crashes_are_read_to_see_whether_a_policy_has_proven_itself(
    tmp_path: Path, live: Live
) -> None:
    policy = warmline.ScriptedPolicy(record=False)
    await warmline.run_batch(environment(policy), scenarios(5), out=tmp_path)
    with log.EpisodeLog(tmp_path / "episodes.jsonl") as opened:
        assert finished.FinishedInLog(opened, [f"s{n}" for n in range(5)]).proven
    assert live.read == 0


def simulated(folder: Path, count: int) -> Path:
    policy = warmline.ScriptedPolicy(record=False)
    warmline.simulate(policy=policy, scenarios=scenarios(count), max_turns=4, out=folder)
    return folder


def clean(folder: Path) -> None:
    clean_run(folder, CleanSettings(skip=("near_duplicates",)))


def export(folder: Path) -> None:
    export_corpus(folder, folder / "export", clean=False)


def analyse(folder: Path) -> None:
    from warmline.evaluation.analyses.corpus import read_corpus

    read_corpus(folder, sample=3)


def report(folder: Path) -> None:
    from warmline.evaluation.report import read_run

    view = read_run(folder, shown=3)
    assert (len(view.episodes), view.conversations) == (3, len(warmline.read_episodes(folder)))


def judge(folder: Path) -> None:
    from warmline.core.tasks import run_sync
    from warmline.evaluation.judging.judge_run import judge_run
    from warmline.evaluation.judging.settings import JudgeSettings

    policy = warmline.ScriptedPolicy(lambda _: '{"reason": "fine", "score": 4}', record=False)
    run_sync(judge_run(folder, JudgeSettings(concurrency=2), policy=policy))
    run_sync(judge_run(folder, JudgeSettings(against=str(folder), concurrency=2), policy=policy))


def rows(folder: Path) -> None:
    from warmline.training.rows.build import build_rows
    from warmline.training.rows.settings import RowSettings
    from warmline.training.rows.sources import load_episodes, split_episodes

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
    pytest.importorskip("torch")
    from typer.testing import CliRunner
    from warmline.cli import app

    from ...training.models import save_causal

    folder = simulated(tmp_path / "run", 40)
    model = save_causal(tmp_path / "model")
    command = ["preview", str(folder), "--model", str(model), "--limit", "3"]
    shown = CliRunner().invoke(app, [*command, "--template", "You help.{% block note %}{% endblock %}"])
    assert shown.exit_code == 0, shown.output
    assert "episodes, the others were not read" in shown.output
    assert live.read <= 3
