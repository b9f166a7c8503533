"""The warm processes of other tests, where a system cannot fork."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from . import warm


def say(words: str) -> None:
    print(words, os.environ["WARM"])


def test_without_forks_processes_start_from_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiprocessing, "get_all_start_methods", lambda: ["spawn"])
    monkeypatch.setattr(warm, "_CONTEXT", warm.context())
    output = tmp_path / "said"
    started = warm.Started(say, "started", environment={"WARM": "cold"}, output=output)
    assert started.wait(60) == 0
    assert output.read_text() == "started cold\n"
    assert warm.context().get_start_method() == "spawn"
