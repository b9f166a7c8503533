"""Small files written whole: what a killed writer leaves is cleaned up, what a living one holds is not."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from warmline.core import files
from warmline.core.errors import InUse
from warmline.core.files import hold, is_held, lock_file, write_whole


def left_behind(path: Path) -> Path:
    path.write_text("half")
    os.utime(path, (0, 0))
    return path


def test_the_next_write_cleans_up_after_a_killed_one(tmp_path: Path) -> None:
    left = left_behind(tmp_path / "summary.json.0123abcd.partial")
    others = [left_behind(tmp_path / name) for name in ("other.json.0123abcd.partial", "x.partial")]
    write_whole(tmp_path / "summary.json", "{}")
    assert not left.exists()
    assert all(path.exists() for path in others), "what is not of this file stays"


def test_what_a_living_process_holds_stays(tmp_path: Path) -> None:
    left = left_behind(tmp_path / "summary.json.0123abcd.partial")
    with left.open() as file:
        hold(file.fileno())
        write_whole(tmp_path / "summary.json", "{}")
        assert left.exists()


def test_one_at_a_time_holds_a_lock_file_and_takes_it_away(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="Windows has no such locks")
    lock, refusal = tmp_path / "below" / "x.lock", InUse("taken")
    with lock_file(lock, refusal):
        assert is_held(lock)
        with pytest.raises(InUse, match="taken"), lock_file(lock, refusal):
            pass
    assert not lock.exists()
    assert not is_held(lock)
    lock.touch()  # left by a kill
    assert not is_held(lock)
    with lock_file(lock, refusal), pytest.raises(InUse), lock_file(lock, refusal):
        pass
    assert not lock.exists()


def test_a_lock_file_that_was_taken_away_meanwhile_is_not_taken_for_the_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fcntl", reason="Windows has no such locks")
    lock, lock_it, tries = tmp_path / "x.lock", files.lock_alone, []

    def taken_away_once(descriptor: int) -> bool:
        tries.append(descriptor)
        if len(tries) == 1:
            lock.unlink()
        return lock_it(descriptor)

    monkeypatch.setattr(files, "lock_alone", taken_away_once)
    with lock_file(lock, InUse("taken")):
        assert len(tries) == 2
        assert is_held(lock)


def test_a_lock_file_is_waited_for(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="Windows has no such locks")
    lock, refusal = tmp_path / "x.lock", InUse("taken")
    holding = lock_file(lock, refusal)
    holding.__enter__()
    threading.Timer(0.2, holding.__exit__, (None, None, None)).start()
    with lock_file(lock, refusal, wait=60.0):
        assert is_held(lock)
