"""What stands in the folder of a run with several workers: status, one log of many, its readers."""

from __future__ import annotations

import errno
import fcntl
import io
import json
import time
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from rich.console import Console

import warmline
from warmline.core.errors import InUse, RunError
from warmline.environments.episodes import log
from warmline.environments.episodes.derived import derived_path
from warmline.environments.runs import summary
from warmline.environments.shards import compact as compacting
from warmline.environments.shards.command import _table_of
from warmline.environments.shards.compact import compact
from warmline.environments.shards.status import run_status

from ...live import Live, counting
from ...test_outside import Command
from ..helpers import scenarios
from .test_run import contents, crashing, environment, records, seeded


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    return Command(capsys, monkeypatch)


def played(folder: Path, count: int = 12, workers: int = 3) -> Any:
    return warmline.run_sharded(
        environment(seeded), scenarios(count), out=folder, workers=workers, concurrency=2
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of twelve episodes that three workers played."""
    folder = tmp_path_factory.mktemp("whole")
    played(folder)
    return folder


@pytest.fixture
def run(whole: Path, tmp_path: Path) -> Path:
    """A copy of that run, which is the test's own."""
    copytree(whole, tmp_path, dirs_exist_ok=True)
    return tmp_path


def lines(folder: Path) -> list[str]:
    return [x for f in sorted(folder.glob("episodes*.jsonl")) for x in f.read_text().splitlines()]


def test_one_log_of_many(run: Path) -> None:
    made = contents(warmline.read_episodes(run))
    before = lines(run)
    done = compact(run)
    assert (done.episodes, done.logs, done.dropped) == (12, 4, 0)
    assert sorted(lines(run)) == sorted(before), "byte for byte"
    names = sorted(p.name for p in run.iterdir())
    assert names == ["config.toml", "episodes.jsonl", "summary.json"]
    assert [r["id"] for r in records(run)] == [f"s{n}" for n in range(12)]
    assert contents(warmline.read_episodes(run)) == made
    assert compact(run).logs == 1, "and again is nothing"
    assert len(played(run, 14)) == 14, "and the run goes on"


def test_what_does_not_count_is_left_out_and_told(tmp_path: Path) -> None:
    given: dict[str, Any] = {"out": tmp_path, "workers": 1}
    warmline.run_sharded(environment(crashing()), scenarios(2), **given)
    warmline.run_sharded(environment(crashing("s3")), scenarios(5), **given)
    warmline.run_sharded(environment(crashing()), scenarios(5), retry_failed=True, **given)
    assert len(records(tmp_path)) == 6
    done = compact(tmp_path)
    assert (done.episodes, done.dropped) == (5, 1)
    assert not any(e.error for e in warmline.read_episodes(tmp_path))


@pytest.mark.parametrize("where", ["fsync", "unlink"])
def test_a_kill_while_compacting_loses_nothing(
    run: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    made = contents(warmline.read_episodes(run))

    def killed(*given: object, **more: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(
            *((compacting.os, "fsync") if where == "fsync" else (compacting, "_forget")), killed
        )
        with pytest.raises(KeyboardInterrupt):
            compact(run)
    assert contents(warmline.read_episodes(run)) == made
    assert compact(run).episodes == 12
    assert contents(warmline.read_episodes(run)) == made
    assert len(records(run)) == 12


def test_a_run_that_is_played_is_not_compacted(run: Path) -> None:
    said = run / "shards" / "0001.json"
    known = json.loads(said.read_text())
    said.write_text(json.dumps(known | {"state": "running", "updated": time.time()}))
    with pytest.raises(RunError, match="played by workers 1"):
        compact(run)
    said.write_text(json.dumps(known | {"state": "running", "updated": time.time() - 60}))
    with log.EpisodeLog(run / "episodes-0002.jsonl"), pytest.raises(InUse):
        compact(run)
    assert compact(run).episodes == 12


def test_a_log_that_was_replaced_while_it_was_opened_is_not_written(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = run / "episodes.jsonl"

    def compacted_meanwhile(*given: Any) -> None:
        monkeypatch.undo()
        compact(run)

    monkeypatch.setattr(fcntl, "flock", compacted_meanwhile)
    with pytest.raises(RunError, match="removed by another process"), log.EpisodeLog(path):
        pass
    assert len(records(run)) == 12


def test_status_is_read_from_the_folder(run: Path, command: Command) -> None:
    status = json.loads(command("status", run, "--json"))
    assert (status["episodes"], status["asked"], status["failed"]) == (12, 12, 0)
    assert status["stops"] == {"turn_limit": 12}
    assert [w["state"] for w in status["workers"]] == ["ended"] * 3
    assert sum(w["done"] for w in status["workers"]) == 12
    said = run / "shards" / "0001.json"
    known = json.loads(said.read_text())
    said.write_text(json.dumps(known | {"state": "running", "updated": time.time() - 60}))
    assert run_status(run)["workers"][1]["state"] == "silent"
    printed = command("status", run)
    assert "12 of 12 episodes: turn_limit 12" in printed
    assert "silent" in printed


def test_status_of_a_run_of_one_process(tmp_path: Path, command: Command) -> None:
    warmline.simulate(policy="scripted", episodes=3, out=tmp_path)
    assert "3 episodes: " in command("status", tmp_path)
    assert "no episode log there" in command("status", tmp_path / "none", code=2)


def test_the_command_line_plays_shows_and_compacts(tmp_path: Path, command: Command) -> None:
    out = tmp_path / "run"
    words = ["simulate", "--policy", "scripted", "--max-turns", "4", "--seed", "3", "--out", out]
    printed = command(*words, "--episodes", "5", "--workers", "2")
    assert "5/5 episodes, 2 workers" in printed
    assert printed.count("(ended: ") == 5, "few conversations are printed"
    printed = command(*words, "--episodes", "7")
    assert "7/7" in printed
    printed = command(
        "simulate", "--config", out / "config.toml", "--episodes", "8", "--workers", "3", "--quiet"
    )
    assert "8/8 episodes, 1 workers" in printed
    whole = warmline.simulate(policy="scripted", max_turns=4, seed=3, episodes=8)
    assert contents(warmline.read_episodes(out)) == contents(whole)
    assert command("show", out, "--limit", "100").count("(ended: ") == 8
    assert "8 episodes of" in command("compact", out)
    assert command("show", out, "--limit", "100").count("(ended: ") == 8
    printed = command("simulate", "--workers", "0", "--out", out, code=2)
    assert "workers" in printed


def test_sums_are_kept_beside_each_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the end of a long run reads no episode again."""
    count = summary.WORTH_KEEPING + 50
    fast = environment(seeded, max_turns=2)
    live: Live = counting(monkeypatch)
    made = warmline.run_sharded(fast, scenarios(count), out=tmp_path, workers=1)
    assert derived_path(tmp_path / "episodes-0000.jsonl", summary.TOTALS).is_file()
    assert live.read == 0
    whole = json.loads((tmp_path / "summary.json").read_text())
    assert whole == json.loads(json.dumps(warmline.environments.summarize(made)))


def test_a_resume_holds_and_reads_no_episode(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live: Live = counting(monkeypatch)
    assert len(played(run)) == 12
    assert live.most <= 2, "the summary reads one after the other"


def test_a_file_system_without_locks_is_not_taken_for_a_log_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As some network file systems have none."""

    def none(*given: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    assert len(played(tmp_path, 4, 2)) == 4
    assert compact(tmp_path).episodes == 4
    assert len(played(tmp_path, 5, 2)) == 5


def test_servers_of_a_pool_are_told_as_roles_are() -> None:
    used = {
        "calls": 7, "failed": 1, "from_cache": 0, "prompt_tokens": 60, "cached_tokens": 5,
        "completion_tokens": 40, "calls_without_usage": 0, "calls_with_estimated_usage": 0,
        "latency_seconds": {"p50": 0.2, "p95": None},
    }  # fmt: skip
    told = io.StringIO()
    found = {"episodes": 2, "usage": {"supporter": used}, "endpoints": {"http://one/v1": used}}
    Console(file=told, width=200).print(_table_of(found, "runs/x"))
    assert told.getvalue().count("7 (1 failed), 60 prompt tokens (5 cached), 40 completion") == 2
    assert "calls at http://one/v1" in told.getvalue()
    assert "{" not in told.getvalue()
