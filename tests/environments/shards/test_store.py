"""Runs kept in a store: a real local S3, and one that can append; kills, gaps, two commands."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import warmline
from warmline.core.errors import ConfigError, DataError, MissingExtra, RunError
from warmline.core.stores import store
from warmline.core.stores.store import Store, copy_of, folder_of, kept
from warmline.environments.shards.compact import compact
from warmline.environments.shards.status import run_status

from ...test_outside import Command
from ..helpers import scenarios
from .test_run import alone, contents, environment, seeded, slowly

fsspec = pytest.importorskip("fsspec", reason="pip install 'warmline[store]'")


@pytest.fixture(autouse=True)
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    pytest.importorskip("s3fs", reason="pip install 'warmline[store]'")
    moto = pytest.importorskip("moto.server", reason="pip install 'moto[s3]' flask flask-cors")
    running = moto.ThreadedMotoServer(port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A bucket; the environment says where it is, for workers too."""
    import s3fs

    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem(use_listings_cache=False)
    files.mkdir("runs")
    yield files
    files.rm("runs", recursive=True)


@pytest.mark.usefixtures("bucket")
def test_a_run_in_s3_is_the_run_of_one_process(
    bucket: Any, copies: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Played in part, taken up on another machine (no copy is there), read, compacted, read."""
    url = "s3://runs/first"
    warmline.run_sharded(environment(seeded), scenarios(6), out=url, workers=2)
    names = [path.removeprefix("runs/first/") for path in bucket.find("runs/first")]
    logs = {n.partition(".parts/")[0] for n in names if ".parts/" in n and n[0] == "e"}
    assert logs, "in parts, by whichever worker was quick enough"
    assert logs <= {"episodes-0000.jsonl", "episodes-0001.jsonl"}
    assert "config.toml" in names
    assert "writer.json" not in names, "the command has ended"
    shutil.rmtree(copies)
    made = warmline.run_sharded(environment(seeded), scenarios(10), out=url, workers=2)
    one = contents(asyncio.run(alone(10)))
    assert contents(made) == one
    assert contents(warmline.read_episodes(url)) == one
    command = Command(capsys, monkeypatch)
    assert "10 of 10 episodes" in command("status", url)
    assert run_status(url)["episodes"] == 10
    assert "10 episodes of" in command("compact", url)
    shutil.rmtree(copies)
    assert contents(warmline.read_episodes(url)) == one
    logs = {n.partition(".parts/")[0] for n in bucket.find("runs/first") if ".parts/" in n}
    assert len(logs) == 1


@pytest.mark.usefixtures("bucket")
def test_the_command_line_plays_into_s3(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = Command(capsys, monkeypatch)
    words = ["simulate", "--policy", "scripted", "--max-turns", "4", "--out", "s3://runs/cli"]
    command(*words, "--episodes", "2")
    command(*words, "--episodes", "3")
    made = warmline.read_episodes("s3://runs/cli")
    assert contents(made) == contents(warmline.simulate(policy="scripted", max_turns=4, episodes=3))
    assert command("show", "s3://runs/cli").count("(ended: ") == 3
    printed = command(*words, "--on", "slurm", "--workers", "2", code=2)
    assert "a folder that they share" in printed
    printed = command(
        "evaluate", "s3://runs/cli", "--policy", "scripted", "--out", "s3://runs/e", code=2
    )
    assert "not written to a store" in printed


SCRIPT = """
import sys
import warmline
from warmline.core.stores import store
sys.path.insert(0, sys.argv[2])
from tests.environments.shards.test_run import environment, slowly
from tests.environments.helpers import scenarios
store.PUSH_EVERY = 0.2
warmline.run_sharded(environment(slowly), scenarios(120), out=sys.argv[1], workers=1, concurrency=2)
"""


def test_a_lost_machine_costs_what_it_had_not_sent(
    tmp_path: Path, copies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a store that appends. Killed, its copy gone with it, and its claim too old to count."""
    url = f"file://{tmp_path}/there"
    root = str(Path(__file__).parents[3])
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, url, root])
    log = tmp_path / "there" / "episodes-0000.jsonl"
    while not log.is_file():
        assert process.poll() is None
        time.sleep(0.02)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    assert not psutil.wait_procs(workers, timeout=60)[1]  # they notice, and say so in the copy
    sent = len(log.read_bytes().splitlines())
    assert sent < 120
    shutil.rmtree(copies)
    claim = tmp_path / "there" / store.WRITER
    claim.write_text(json.dumps({"host": "elsewhere", "updated": time.time()}))
    run: dict[str, Any] = {"out": url, "workers": 1}
    with pytest.raises(RunError, match="is being played by a command on elsewhere"):
        warmline.run_sharded(environment(slowly), scenarios(120), **run)
    claim.write_text(json.dumps({"host": "elsewhere", "updated": time.time() - 100}))
    made = warmline.run_sharded(environment(slowly), scenarios(120), **run)
    assert contents(made) == contents(asyncio.run(alone(120, slowly)))
    lines = [x for f in (tmp_path / "there").glob("episodes*.jsonl") for x in f.open()]
    assert len({json.loads(line)["id"] for line in lines}) == len(lines) == 120


def test_what_a_copy_has_otherwise_is_kept_beside_it(tmp_path: Path, copies: Path) -> None:
    """Two machines played on from the same state; neither's episodes are lost."""
    url = f"file://{tmp_path}/there"
    warmline.run_sharded(environment(seeded), scenarios(4), out=url, workers=1)
    behind = folder_of(url)
    kept_copy = tmp_path / "kept"
    shutil.copytree(behind, kept_copy)
    warmline.run_sharded(environment(seeded), scenarios(7), out=url, workers=1)
    with warmline.environments.EpisodeLog(kept_copy / "episodes-0000.jsonl") as log:
        log.append(asyncio.run(alone(9))[8])
    shutil.rmtree(behind)
    shutil.move(kept_copy, behind)
    made = warmline.run_sharded(environment(seeded), scenarios(9), out=url, workers=1)
    assert contents(made) == contents(asyncio.run(alone(9)))
    assert (tmp_path / "there" / "episodes-0001.jsonl").is_file()
    assert [e.id for e in warmline.read_episodes(url)] == [f"s{n}" for n in range(9)]


def test_a_gap_in_the_store_is_told(bucket: Any) -> None:
    url = "s3://runs/gap"
    folder = folder_of(url)
    with kept(url, meanwhile=False) as there:
        assert there is not None
        log = folder / "episodes.jsonl"
        for number in range(3):
            with log.open("a") as lines:
                lines.write(f'{{"n": {number}}}\n')
            there.push()
    parts = bucket.find("runs/gap/episodes.jsonl.parts")
    assert [int(p.rpartition("/")[2]) for p in parts] == [0, 9, 18]
    bucket.rm_file(parts[1])
    with pytest.raises(
        DataError, match="the log has a gap: 9 bytes, then a part that begins at 18"
    ):
        copy_of(url)


def test_torn_lines_are_not_sent(tmp_path: Path) -> None:
    there = Store(f"file://{tmp_path}/there", tmp_path / "copy")
    there.fetch()
    log = tmp_path / "copy" / "episodes.jsonl"
    log.write_text('{"n": 0}\n{"n": 1')
    there.push()
    assert (tmp_path / "there" / "episodes.jsonl").read_text() == '{"n": 0}\n'
    log.write_text('{"n": 0}\n{"n": 1}\n')
    there.push()
    assert (tmp_path / "there" / "episodes.jsonl").read_text() == '{"n": 0}\n{"n": 1}\n'


def test_one_command_plays_into_a_url(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/there"
    with kept(url), pytest.raises(RunError, match="being written by another process"), kept(url):
        pass


def test_stores_that_are_not_there_are_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="such as s3://bucket/run"):
        warmline.read_episodes("nosuch://bucket/run")
    with pytest.raises(DataError, match="nothing there"):
        warmline.read_episodes(f"file://{tmp_path}/nowhere")
    with pytest.raises(ConfigError, match="not written to a store"):
        asyncio.run(warmline.run_batch(environment(seeded), scenarios(1), out="s3://runs/x"))
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ConfigError, match="package that is not installed") as raised:
        warmline.read_episodes("gs://bucket/run")
    assert "gcsfs" in (raised.value.hint or "")  # which `warmline[store]` does not bring
    assert "warmline" not in (raised.value.hint or "")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtra, match="s3://runs/x") as raised:
        warmline.read_episodes("s3://runs/x")
    assert "warmline[store]" in (raised.value.hint or "")


def test_compacting_again_is_nothing(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/there"
    made = contents(warmline.run_sharded(environment(seeded), scenarios(4), out=url, workers=2))
    assert compact(url).episodes == 4
    assert compact(url).episodes == 4
    assert contents(warmline.read_episodes(url)) == made
    assert contents(
        warmline.run_sharded(environment(seeded), scenarios(5), out=url, workers=1)
    ) == contents(asyncio.run(alone(5)))
