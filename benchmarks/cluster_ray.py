"""2,000 scripted episodes on Ray while nodes are lost and join, and the driver is killed and restarted.

A head without room for workers and three nodes of one core run here as raylets. Once a quarter of the
episodes is in the logs a node is removed and another joins; at the half the driver is killed with
SIGKILL and the same command is given again; at three quarters another node goes and one joins. In the end all
must be there, none twice, word for word what one process plays with the same seed.

    python benchmarks/cluster_ray.py [episodes]      # needs warmline[ray]; a minute or two
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import warmline

EPISODES = 2_000
STORE = 80 << 20
"""Bytes of a raylet's object store."""


async def answer(request: warmline.Request) -> str:
    """After a while that an engine would need, and showing the call's seed."""
    await asyncio.sleep(0.02)
    return f"I am number {request.seed}."


def environment() -> warmline.SupportEnvironment:
    """Two speakers, four utterances."""
    policy = warmline.ScriptedPolicy(answer, record=False)
    return warmline.SupportEnvironment(seeker=policy, supporter=policy, max_turns=4)


def drive(folder: Path, count: int, address: str) -> None:
    """What the driver's process does."""
    warmline.run_sharded(
        environment,
        warmline.draw_scenarios(count, seed=1),
        out=folder,
        on="ray",
        workers=3,
        concurrency=4,
        ray={"address": address},
    )


def driver(folder: Path, count: int, address: str) -> subprocess.Popen[bytes]:
    """A driver in a process of its own."""
    words = [sys.executable, __file__, "--drive", str(folder), str(count), address]
    return subprocess.Popen(words)


def logged(folder: Path) -> Iterator[str]:
    """The id of every record in the logs; what is being written is left out."""
    for file in folder.glob("episodes*.jsonl"):
        for line in file.read_text("utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)["id"]


def wait_for(folder: Path, episodes: int, running: subprocess.Popen[bytes]) -> None:
    """Wait until so many are logged."""
    while sum(1 for _ in logged(folder)) < episodes:
        assert running.poll() is None, "the driver ended"
        time.sleep(0.2)


def play(cluster: Any, folder: Path, count: int) -> None:
    """Play while everything goes wrong that can."""
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=STORE) for _ in range(3)]
    running = driver(folder, count, cluster.address)
    for share, kill in ((0.25, False), (0.5, True), (0.75, False)):
        wait_for(folder, int(share * count), running)
        if kill:
            running.kill()
            running.wait()
            print(f"driver killed with {sum(1 for _ in logged(folder))} of {count} logged")
            running = driver(folder, count, cluster.address)
        else:
            cluster.remove_node(nodes.pop(), allow_graceful=False)
            cluster.add_node(num_cpus=1, object_store_memory=STORE)
            print(f"node lost and another joined after {share:.0%}")
    assert running.wait() == 0


def check(folder: Path, count: int) -> None:
    """All there, none twice, and as one process plays it."""
    played = warmline.read_episodes(folder)
    assert len(played) == count, f"{len(played)} of {count}"
    again = [name for name, times in Counter(logged(folder)).items() if times > 1]
    scenarios = warmline.draw_scenarios(count, seed=1)
    alone = asyncio.run(warmline.run_batch(environment(), scenarios, concurrency=200))
    assert [e.content() for e in played] == [e.content() for e in alone]
    print(
        f"{count} of {count} episodes, each read once, equal to one process;"
        f" {len(again)} were written twice by workers that were cut off"
    )


def main() -> None:
    """Play and check."""
    from ray.cluster_utils import Cluster

    count = int(sys.argv[1]) if len(sys.argv) > 1 else EPISODES
    head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    with tempfile.TemporaryDirectory() as folder:
        try:
            began = time.monotonic()
            play(cluster, Path(folder) / "run", count)
            print(f"played in {time.monotonic() - began:.0f} s")
            check(Path(folder) / "run", count)
        finally:
            cluster.shutdown()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--drive"]:
        drive(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
    else:
        main()
