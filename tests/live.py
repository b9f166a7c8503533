"""Counts the episodes that somebody holds."""

from __future__ import annotations

import weakref
from pathlib import Path

import pytest

import warmline
from warmline.environments.episodes import index, log


class Live:
    """Counts the episodes that were read or played and are still held by somebody."""

    def __init__(self) -> None:
        self.now = self.most = self.read = 0

    def watch(self, episode: warmline.Episode) -> warmline.Episode:
        self.now += 1
        self.most = max(self.most, self.now)
        weakref.finalize(episode, self._gone)
        return episode

    def _gone(self) -> None:
        self.now -= 1


def counting(monkeypatch: pytest.MonkeyPatch) -> Live:
    """Counts those that are read from logs from now on."""
    counted, parse = Live(), index.parse_episode

    def parsed(line: str, file: Path, number: int) -> warmline.Episode:
        counted.read += 1
        return counted.watch(parse(line, file, number))

    monkeypatch.setattr(index, "parse_episode", parsed)
    monkeypatch.setattr(log, "parse_episode", parsed)
    return counted
