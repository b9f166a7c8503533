"""Workers on Ray: real raylets on this machine, nodes that come and go, a driver that is killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import warmline
from warmline.core.errors import AuthenticationFailed, ConfigError, MissingExtra, RunError
from warmline.core.shards import on_ray
from warmline.core.shards.driver import ShardLost, ShardStarted, UnitDone
from warmline.environments.shards.parts import Parts
from warmline.environments.shards.settings import ShardSettings

from ..helpers import scenarios
from .test_run import alone, contents, environment, records, seeded, slowly

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'warmline[ray]'")
cluster_utils = pytest.importorskip("ray.cluster_utils")

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without room for workers, and two nodes; on a busy machine they take their time."""
    os.environ.setdefault("RAY_raylet_start_wait_time_s", "300")
    made = cluster_utils.Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False, "object_store_memory": 80 << 20},
    )
    for _ in range(2):
        made.add_node(num_cpus=1, object_store_memory=80 << 20)
    yield made
    ray.shutdown()
    made.shutdown()


async def slower(request: warmline.Request) -> str:
    """So slow that a lost actor is made anew before all is played."""
    await asyncio.sleep(0.08)
    return f"I am number {request.seed}."


@pytest.fixture
def placed(cluster: Any) -> dict[str, Any]:
    return {"on": "ray", "workers": 2, "ray": {"address": cluster.address}}


def test_nodes_come_and_go_and_nothing_is_lost_or_read_twice(
    tmp_path: Path, cluster: Any, placed: dict[str, Any]
) -> None:
    events: list[object] = []
    extra = cluster.add_node(num_cpus=1, object_store_memory=80 << 20)

    def observe(event: object) -> None:
        events.append(event)
        done = sum(isinstance(e, UnitDone) for e in events)
        if isinstance(event, UnitDone) and done == 30:
            cluster.remove_node(extra, allow_graceful=False)
            cluster.add_node(num_cpus=1, object_store_memory=80 << 20)

    there = placed | {"workers": 3}
    made = warmline.run_sharded(
        environment(slower), scenarios(500), out=tmp_path, concurrency=2, observe=observe, **there
    )
    assert any(isinstance(event, ShardLost) for event in events)
    assert max(e.restarts for e in events if isinstance(e, ShardStarted)) >= 1
    one = asyncio.run(warmline.run_batch(environment(slower), scenarios(500), concurrency=100))
    assert contents(made) == contents(one)
    assert [e.id for e in warmline.read_episodes(tmp_path)] == [f"s{n}" for n in range(500)]
    assert not list((tmp_path / "shards").glob("seen-*"))


SCRIPT = """
import sys
import warmline
sys.path.insert(0, {root!r})
from tests.environments.shards.test_run import environment, slowly
from tests.environments.helpers import scenarios

def observe(event):
    print(type(event).__name__, flush=True)

warmline.run_sharded(
    environment(slowly), scenarios(60), out=sys.argv[1], on="ray", workers=2, concurrency=1,
    ray={{"address": sys.argv[2]}}, observe=observe,
)
"""


def test_a_killed_driver_is_started_again(
    tmp_path: Path, cluster: Any, placed: dict[str, Any]
) -> None:
    out = tmp_path / "run"
    script = SCRIPT.format(root=str(Path(__file__).parents[3]))
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(out), cluster.address],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    while (line := process.stdout.readline().strip()) != "UnitDone":
        assert line, process.communicate()[1]
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(warmline.read_episodes(out)) < 60
    made = warmline.run_sharded(environment(slowly), scenarios(60), out=out, **placed)
    assert contents(made) == contents(asyncio.run(alone(60, slowly)))
    assert len(made) == 60


def test_without_a_shared_folder_the_driver_writes(
    tmp_path: Path, cluster: Any, placed: dict[str, Any]
) -> None:
    there = {"address": cluster.address, "through_driver": True}
    made = warmline.run_sharded(
        environment(seeded), scenarios(20), out=tmp_path, **placed | {"ray": there}
    )
    assert contents(made) == contents(asyncio.run(alone(20)))
    assert len(records(tmp_path)) == 20
    assert not list((tmp_path / "shards").glob("*.json")), "no worker saw the folder"
    assert json.loads((tmp_path / "summary.json").read_text())["episodes"] == 20
    assert (
        len(warmline.run_sharded(environment(seeded), scenarios(22), out=tmp_path, workers=1)) == 22
    )


def test_a_fatal_error_of_an_actor_stops_the_run(tmp_path: Path, placed: dict[str, Any]) -> None:
    def answer(request: warmline.Request) -> str:
        raise AuthenticationFailed("wrong key")

    with pytest.raises(AuthenticationFailed, match="wrong key"):
        warmline.run_sharded(environment(answer), scenarios(4), out=tmp_path, **placed)


def test_a_worker_may_span_nodes(tmp_path: Path, cluster: Any, placed: dict[str, Any]) -> None:
    """Two bundles of one core each, on nodes of one core: its engine's children find both."""
    seen = tmp_path / "seen"

    def spanning() -> warmline.SupportEnvironment:
        if ray.is_initialized() and (group := ray.util.get_current_placement_group()) is not None:
            seen.write_text(json.dumps([group.bundle_count, group.bundle_specs]))
        return environment(seeded)

    there = placed | {"workers": 1, "ray": {"address": cluster.address, "bundles": 2}}
    made = warmline.run_sharded(spanning, scenarios(6), out=tmp_path / "run", **there)
    assert contents(made) == contents(asyncio.run(alone(6)))
    assert json.loads(seen.read_text()) == [2, [{"CPU": 1.0}, {"CPU": 1.0}]]
    ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
    try:
        groups = ray.util.placement_group_table()
    finally:
        ray.shutdown()
    assert [group["state"] for group in groups.values()] == ["REMOVED"], "it is given back"


def test_parts_of_other_work(tmp_path: Path, cluster: Any, placed: dict[str, Any]) -> None:
    """See `Parts`: each worker does one part, where the command was given."""

    async def do(part: str, stop: asyncio.Event) -> None:
        Path(tmp_path / part.replace("/", "-of-")).write_text(str(Path.cwd()))

    told: list[str] = []
    asyncio.run(Parts(do, tmp_path, ShardSettings(**placed), told.append).run())
    assert sorted(told) == ["part 1/2 is done", "part 2/2 is done"]
    assert {(tmp_path / f"{n}-of-2").read_text() for n in (1, 2)} == {str(Path.cwd())}
    through = ShardSettings(on="ray", ray={"through_driver": True})
    with pytest.raises(ConfigError, match="not through the driver"):
        asyncio.run(Parts(do, tmp_path, through, told.append).run())


def test_a_cluster_of_another_version_is_explained(
    tmp_path: Path, cluster: Any, placed: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    ray.shutdown()
    monkeypatch.setattr(ray, "__version__", "2.0.0")
    with pytest.raises(RunError, match=r"Ray: 2\.0\.0") as raised:
        warmline.run_sharded(environment(seeded), scenarios(2), out=tmp_path, **placed)
    assert "the same versions of Ray and Python" in (raised.value.hint or "")


def test_no_cluster_and_no_ray_are_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: dict[str, Any] = {"out": tmp_path, "on": "ray", "workers": 1}
    ray.shutdown()
    with pytest.raises(RunError, match="no Ray cluster at nowhere"):
        warmline.run_sharded(environment(seeded), scenarios(2), **run, ray={"address": "nowhere"})
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"--on ray") as raised:
        warmline.run_sharded(environment(seeded), scenarios(2), **run)
    assert "warmline[ray]" in (raised.value.hint or "")


def test_a_ray_that_does_not_start_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine too busy for Ray's 30 seconds cannot be had at will, so Ray's own words are."""

    def init(**_: Any) -> None:
        raise Exception("The current node timed out during startup.")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(RunError, match="did not start on this machine: The current node") as raised:
        on_ray._start_here(ray)
    assert "--on local" in (raised.value.hint or "")
