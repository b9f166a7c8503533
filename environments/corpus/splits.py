"""Splits by scenario: all conversations about one scenario land on the same side.

This is the only definition of "the same scenario", for exports and for training. Two conversations
are about the same scenario if

* their scenarios have the same id but for the sample number (`job-3` and `job-3~2`), or
* their scenarios tell the same situation in at least `SITUATION_WORDS` words; case and white space
  do not count. A shorter text may be a placeholder, such as the importers' `unspecified`, and ties
  nothing.

Two rules divide the groups. `split_of` compares a hash of each group with the ratios: a corpus that
grows keeps every conversation where it was, and the ratios hold on average (exports). `held_out`
takes the first groups in a hashed order: the share holds exactly (training). Rows are never split:
all rows of a conversation go with it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from ...core.seeds import hashed_order, hashed_place
from ..episodes.episode import Episode
from ..episodes.sequence import ids_of, take

SITUATION_WORDS = 8
"""A situation of fewer words may be a placeholder, and does not tie two scenarios together."""

_SAMPLE = re.compile(r"~\d+$")


def scenario_root(scenario_id: str) -> str:
    """The scenario's id without the sample number: `job-3~2` and `job-3` are about one scenario."""
    return _SAMPLE.sub("", scenario_id)


class Groups:
    """Which conversations belong together; a group goes by the key that was seen first.

    Later conversations never rename a group, so appending to a log moves nothing, except where a
    new conversation joins two groups that were apart.
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


def scenario_keys(episode: Episode) -> tuple[str, ...]:
    """Keys: conversations with a common one are about one scenario. The first is an id."""
    ids = dict.fromkeys(f"id:{scenario_root(name)}" for name in (episode.id, episode.scenario.id))
    words = episode.scenario.situation.casefold().split()
    if len(words) < SITUATION_WORDS:
        return tuple(ids)
    digest = hashlib.blake2b(" ".join(words).encode("utf-8", "replace"), digest_size=16)
    return (*ids, f"situation:{digest.hexdigest()}")


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
    first, *others = scenario_keys(episode)
    groups.key(first)
    for other in others:
        groups.join(first, other)
    if (twin := duplicates.get(episode.id)) is not None:
        groups.join(first, f"id:{scenario_root(twin)}")


def split_of(episode_id: str, groups: Groups, ratios: Mapping[str, float], seed: int) -> str:
    """The split of a conversation that was placed; a growing corpus keeps it there.

    Args:
        episode_id: its id.
        groups: from `group`.
        ratios: share of each split, in order; they sum to 1. They hold on average, not exactly.
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


def scenario_groups(episodes: Iterable[Episode]) -> list[str]:
    """For each conversation the name of its group: the least id of the scenarios in it."""
    groups = Groups()
    firsts, roots = [], []
    for episode in episodes:
        add(groups, episode, {})
        firsts.append(scenario_keys(episode)[0])
        roots.append(scenario_root(episode.scenario.id))
    keys = [groups.key(first) for first in firsts]
    least: dict[str, str] = {}
    for key, root in zip(keys, roots, strict=True):
        least[key] = min(least.get(key, root), root)
    return [least[key] for key in keys]


def held_out_groups(
    groups: Iterable[str], share: float, seed: int, keep: Collection[str] = ()
) -> set[str]:
    """The names of the groups that are held out; see `held_out`.

    Args:
        keep: names of groups that are not.
    """
    names = hashed_order(set(groups), seed)
    count = round(share * len(names))
    if share > 0 and len(names) > 1:
        count = max(1, count)
    return set([name for name in names if name not in keep][:count])


def held_out(
    episodes: Sequence[Episode], share: float, seed: int, *, keep: Collection[str] = ()
) -> tuple[Sequence[Episode], Sequence[Episode]]:
    """The conversations to train on, and those of an exact share of the groups, held out.

    Groups are ordered by a hash of the seed and their name (see `scenario_groups`), so the split
    does not depend on the order of the files. At least one group is held out unless `share` is 0 or
    there is only one group.

    Args:
        share: of the groups, in [0, 1).
        keep: ids that must not be held out, nor anything of their groups; the share is of all
            groups, as far as the others suffice.
    """
    groups = scenario_groups(episodes)
    kept = {group for group, name in zip(groups, ids_of(episodes), strict=True) if name in keep}
    held = held_out_groups(groups, share, seed, kept)
    train, kept_back = (
        take(episodes, [n for n, name in enumerate(groups) if (name in held) is side])
        for side in (False, True)
    )
    return train, kept_back
