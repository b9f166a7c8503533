"""Progress is seen on a terminal, and in a file without filling it."""

from __future__ import annotations

import io

from rich.console import Console

from warmline.core.outside.progress import LINE_EVERY, Counting


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_line_comes_now_and_then_where_there_is_no_terminal() -> None:
    told, clock = io.StringIO(), Clock()
    with Counting(Console(file=told, width=80), "replies", "verdicts", clock=clock) as counting:
        counting.add("replies", 1200)
        assert told.getvalue() == ""
        clock.now = LINE_EVERY
        counting.add("verdicts")
        counting.add("verdicts")
        clock.now = 1.5 * LINE_EVERY
        counting.add("verdicts")
    assert told.getvalue() == "1,200 replies, 1 verdicts\n"


def test_on_a_terminal_the_count_moves_and_leaves_nothing_behind() -> None:
    told = io.StringIO()
    terminal = Console(file=told, width=80, force_terminal=True)
    with Counting(terminal, "replies") as counting:
        counting.add("replies", 3)
    assert "3/?" in told.getvalue()
    assert told.getvalue().endswith("\x1b[2K")
