"""Small files written whole: what a killed writer leaves is cleaned up, what a living one holds is not."""

from __future__ import annotations

import os
from pathlib import Path

from warmline.core.files import hold, write_whole


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
