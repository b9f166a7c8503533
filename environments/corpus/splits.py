"""Splits by scenario: all conversations about one scenario land on the same side.

A group's side follows from a hash of seed and group alone, so a corpus that grows keeps every
conversation where it was, and the ratios hold on average, not exactly. Rows are never split: all
rows of a conversation go with it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping

from ...core.seeds import hashed_place
from ..episodes.episode import Episode, StopReason

_SAMPLE = re.compile(r"~\d+$")


def scenario_root(episode_id: str) -> str:
    """The scenario's id without the sample number: `job-3~2` and `job-3` are about one scenario."""
    return _SAMPLE.sub("", episode_id)


class Groups:
    """Which conversations belong together; a group goes by the key that was seen first.

    Later conversations never rename a group, so appending to a log moves nothing, except where a new
    conversation joins two groups that were apart.
    """

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}
        self._order: dict[str, int] = {}

    def join(self, first: str, second: str) -> None:
        """Put two keys into one group."""
        a, b = self.key(first), self.key(second)
        if self._order[a] > self._order[b]:
            a, b = b, a
        self._parent[b] = a

    def key(self, member: str) -> str:
        """The group of a key; a new key is its own group."""
        if member not in self._parent:
            self._parent[member] = member
            self._order[member] = len(self._order)
        while (parent := self._parent[member]) != member:
            self._parent[member] = self._parent[parent]
            member = parent
        return member


def keys_of(episode: Episode) -> tuple[str, ...]:
    """What ties a conversation to others: its scenario's id and, simulated here, the situation told.

    An importer may give every conversation the same words where a source tells no situation, so
    those of recorded conversations tie nothing.
    """
    root = f"id:{scenario_root(episode.id)}"
    if episode.stop is StopReason.RECORDED:
        return (root,)
    told = " ".join(episode.scenario.situation.lower().split())
    return (root, f"told:{hashlib.sha256(told.encode()).hexdigest()}")


def group(episodes: Iterable[Episode], duplicates: Mapping[str, str] | None = None) -> Groups:
    """The groups of these conversations.

    Args:
        episodes: read once.
        duplicates: id of the earlier conversation that one is nearly the same as, by id.
    """
    groups = Groups()
    for episode in episodes:
        add(groups, episode, duplicates or {})
    return groups


def add(groups: Groups, episode: Episode, duplicates: Mapping[str, str]) -> None:
    """Place one more conversation."""
    root, *others = keys_of(episode)
    for other in others:
        groups.join(root, other)
    if (twin := duplicates.get(episode.id)) is not None:
        groups.join(root, f"id:{scenario_root(twin)}")
    groups.key(root)


def split_of(episode_id: str, groups: Groups, ratios: Mapping[str, float], seed: int) -> str:
    """The split of a conversation that was placed.

    Args:
        episode_id: its id.
        groups: from `group`.
        ratios: share of each split, in order; they sum to 1.
        seed: another seed gives another division.
    """
    key = groups.key(f"id:{scenario_root(episode_id)}")
    place = hashed_place(seed, key)
    passed = 0.0
    for name, ratio in ratios.items():
        passed += ratio
        if place < passed:
            return name
    return [name for name, ratio in ratios.items() if ratio > 0][-1]
