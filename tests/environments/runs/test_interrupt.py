"""`warmline.simulate` in Python: its progress, and what an interrupt returns."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import warmline
from warmline.environments import Ended

from ..helpers import scenarios, talk

BARE: dict[str, Any] = {"counselor": False, "judger": False, "max_turns": 2}


def interrupt_at(count: int) -> Callable[[object], None]:
    """An observer that presses Ctrl-C in the main thread once so many episodes have ended."""
    ended: list[str] = []

    def observe(event: object) -> None:
        if isinstance(event, Ended):
            ended.append(event.episode.id)
            if len(ended) == count:
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    return observe


async def steadily(request: warmline.Request) -> str:
    await asyncio.sleep(0.01)
    return "Well."


def interrupted(out: Path, **more: Any) -> list[warmline.Episode]:
    return warmline.simulate(
        policy=warmline.ScriptedPolicy(steadily), scenarios=scenarios(20), out=out, concurrency=2,
        observe=interrupt_at(3), **BARE, **more,
    )  # fmt: skip


def check_interrupted(made: list[warmline.Episode], out: Path, printed: str) -> None:
    assert 3 <= len(made) < 20
    assert all(len(episode.utterances) == 2 for episode in made), "open ones were finished"
    assert {e.id for e in warmline.read_episodes(out)} == {e.id for e in made}
    assert f"stopped with {len(made)} of 20 episodes finished" in printed
    assert f"the other {20 - len(made)}" in printed


def test_ctrl_c_in_a_script_returns_what_is_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(signal.SIGINT)
    check_interrupted(interrupted(tmp_path), tmp_path, capsys.readouterr().err)
    assert signal.getsignal(signal.SIGINT) is before
    made = warmline.simulate(
        policy=warmline.ScriptedPolicy(steadily), scenarios=scenarios(20), out=tmp_path, **BARE
    )
    assert len(made) == 20


async def test_ctrl_c_in_a_notebook_returns_what_is_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A loop is running in this thread, as in a notebook."""
    check_interrupted(interrupted(tmp_path), tmp_path, capsys.readouterr().err)


SCRIPT = """
import asyncio, os, signal, sys
import warmline

async def slowly(request):
    await asyncio.sleep(0.01)
    return "Well."

def observe(event):
    if isinstance(event, warmline.environments.Ended):
        os.kill(os.getpid(), signal.SIGTERM)

warmline.simulate(
    policy=warmline.ScriptedPolicy(slowly), episodes=40, concurrency=2, max_turns=2,
    counselor=False, judger=False, out=sys.argv[1], observe=observe,
)
print("never reached")
"""


def test_sigterm_ends_a_script_after_what_is_open(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path / "run"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ},
    )
    assert done.returncode == 143, done.stderr
    assert "never reached" not in done.stdout
    assert "Traceback" not in done.stderr
    made = warmline.read_episodes(tmp_path / "run")
    assert 1 <= len(made) < 40
    assert all(len(episode.utterances) == 2 for episode in made)


def test_progress_is_counted_where_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))  # imported, not running
    warmline.simulate(policy=talk(), scenarios=scenarios(3), progress=True, **BARE)
    assert capsys.readouterr().err.endswith("\r3/3 episodes\n")
    warmline.simulate(policy=talk(), scenarios=scenarios(3), progress=False, **BARE)
    warmline.simulate(policy=talk(), scenarios=scenarios(3), **BARE)  # nobody watches a test
    assert capsys.readouterr().err == ""


def test_progress_counts_what_failed(capsys: pytest.CaptureFixture[str]) -> None:
    def answer(request: warmline.Request) -> str:
        if request.session.startswith("s1/"):
            raise ValueError("a bug")
        return "Well."

    warmline.simulate(
        policy=warmline.ScriptedPolicy(answer), scenarios=scenarios(3), progress=True,
        concurrency=1, **BARE,
    )  # fmt: skip
    assert capsys.readouterr().err.endswith("\r3/3 episodes, 1 failed\n")
