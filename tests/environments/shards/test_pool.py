"""A worker whose answers come from several servers, one of which is killed and returns."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import warmline

from .answering import SLOW

ROOT = Path(__file__).parents[3]


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def served(port: int, answered: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`warmline serve-policy` in a process, once it listens; killed at the end."""
    policy = "tests.environments.shards.answering:Answering"
    words = ["serve-policy", "--policy", policy, "--port", str(port), "--name", "listener"]
    process = subprocess.Popen(
        [sys.executable, "-m", "warmline.cli", *words],
        cwd=ROOT, env=os.environ | {"ANSWERED": str(answered)}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until = time.monotonic() + 60
        while True:
            with socket.socket() as asking:
                if asking.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None
            assert time.monotonic() < until
            time.sleep(0.05)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.timeout(240)
def test_a_server_is_killed_and_returns_and_no_conversation_is_lost(tmp_path: Path) -> None:
    answered = tmp_path / "answered"
    answered.mkdir()
    slow = answered / SLOW
    ports = free_port(), free_port()
    settings = {
        "policy": "openai", "model": "listener", "episodes": 120, "max_turns": 6, "seed": 3,
        "base_url": [f"http://127.0.0.1:{port}/v1" for port in ports],
        "case_dialogues": 0, "counselor": {"seated": False}, "judger": {"seated": False},
    }  # fmt: skip
    done, steps = 0, []

    def observe(event: Any) -> None:
        nonlocal done
        done += type(event).__name__ == "UnitDone"
        if done >= 20 and not steps and many(second):
            second.kill()
            steps.append("killed")
        if done >= 60 and steps == ["killed"]:
            slow.touch()  # what is left lasts until the other server is found again
            steps.append(returns.__enter__())
        if len(steps) == 2 and many(steps[1]):
            slow.unlink(missing_ok=True)

    def many(server: subprocess.Popen[bytes]) -> bool:
        counted = answered / str(server.pid)
        return counted.exists() and counted.stat().st_size > 20

    returns = served(ports[1], answered)
    with served(ports[0], answered), served(ports[1], answered) as second:
        try:
            episodes = warmline.run_sharded(
                settings, out=tmp_path / "run", workers=1, concurrency=8, observe=observe
            )
        finally:
            if len(steps) > 1:
                returns.__exit__(None, None, None)
    assert len(episodes) == 120
    assert not [episode.error for episode in episodes if episode.error]
    assert len({episode.id for episode in warmline.read_episodes(tmp_path / "run")}) == 120
    assert many(second)  # it had its share before
    assert many(steps[1])  # and when it was back
