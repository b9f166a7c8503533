"""Tokens a second: what came lately, in bounded memory."""

from __future__ import annotations

import pytest

from warmline.core.shards import status
from warmline.core.shards.status import RATE_PARTS, RATE_WINDOW, Rate


def test_only_what_came_lately_counts_and_little_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(status.time, "monotonic", lambda: now)
    rate = Rate()
    assert rate.value() == 0.0
    for _ in range(100_000):  # a hundred seconds in which nobody asks for the rate
        now += 0.001
        rate.add(5)
    assert rate.value() == pytest.approx(5000, rel=0.02)
    assert len(rate._recent) <= RATE_PARTS + 2
    now += RATE_WINDOW / 2
    assert rate.value() == pytest.approx(2500, rel=0.05)
    now += RATE_WINDOW
    assert rate.value() == 0.0
