"""How a corpus is divided into sides: by shares, by published lists of ids, or both.

Drawn sides keep all dialogues about one scenario together (`splits.py` says which those are) unless
`by` is `dialogue`. Groups are taken in a hashed order and a side takes them until it holds its share
of the dialogues, so that shares hold as nearly as the groups allow and the order of the log does not
matter. A listed side holds exactly what its list names; what else tells a scenario of a listed
dialogue would leak it, and is on no side.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from ...core.errors import ConfigError, DataError, RunError, did_you_mean
from ...core.files import read_text
from ...core.seeds import hashed_order
from ..episodes.episode import Episode
from ..episodes.log import read_episodes
from ..episodes.sequence import ids_of
from ..episodes.sides import SHOWN, SIDE_NAME, Place, Split, digest_of, whole, write_split
from .splits import scenario_groups

By = Literal["scenario", "dialogue"]


def split_corpus(
    corpus: str | Path,
    *,
    shares: Mapping[str, float] | None = None,
    ids: Mapping[str, str | Path] | None = None,
    by: By = "scenario",
    seed: int = 0,
    replace: bool = False,
) -> Split:
    """Divide a corpus and write `split.json` beside its log.

    The same call again finds the same split and changes nothing.

    Args:
        corpus: a run's folder or a log.
        shares: of the sides to draw, which sum to 1: of all dialogues, or of those that no list
            names.
        ids: by side, a file with the ids of its dialogues, one a line.
        by: what drawn sides keep together.
        seed: of the draw.
        replace: put another split in the place of one that is there.

    Raises:
        ConfigError: shares or names that cannot be used, or a side that would be empty.
        DataError: no log, or a list that names what is not there, or a dialogue twice.
        RunError: another split is there.
    """
    place = Place(whole(corpus, "a split"))
    episodes = read_episodes(place.path)
    if not episodes:
        raise DataError("holds no dialogue to divide", file=place.path)
    lists = {side: Path(file) for side, file in (ids or {}).items()}
    listed = {side: read_ids(file, ids_of(episodes)) for side, file in lists.items()}
    split = divide(
        episodes,
        shares or {},
        listed,
        by=by,
        seed=seed,
        lists={side: file.name for side, file in lists.items()},
    )
    file = place.split_file
    if file.is_file() and not replace and read_text(file) != split.to_json():
        raise RunError(
            f"{file} is another split",
            hint="--replace puts this one in its place; what was trained on a side of that one"
            " keeps its own record of what it has seen",
        )
    write_split(place.folder, split)
    return split


def read_ids(file: Path, there: Sequence[str]) -> tuple[str, ...]:
    """Ids of dialogues from a file, one a line; empty lines and those that begin with # are none.

    Raises:
        DataError: no such file, no id in it, or one that the corpus lacks or that came before.
    """
    known = set(there)
    found: dict[str, int] = {}
    for number, line in enumerate(read_text(file).splitlines(), 1):
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        if name in found:
            raise DataError(
                f"the id '{name}' stands in line {found[name]} already", file=file, line=number
            )
        if name not in known:
            raise DataError(
                f"no dialogue of the corpus has the id '{name}'",
                file=file,
                line=number,
                hint=did_you_mean(name, there)
                or f"its ids are like '{there[0]}'; `warmline show CORPUS` prints them",
            )
        found[name] = number
    if not found:
        raise DataError("holds no id", file=file, hint="one id of a dialogue a line")
    return tuple(found)


def divide(
    episodes: Sequence[Episode],
    shares: Mapping[str, float],
    listed: Mapping[str, Sequence[str]],
    *,
    by: By = "scenario",
    seed: int = 0,
    lists: Mapping[str, str] | None = None,
) -> Split:
    """The sides of some dialogues; see `split_corpus`.

    Args:
        listed: ids by side.
        lists: the files of those ids, for the record.

    Raises:
        ConfigError, DataError: see `split_corpus`.
    """
    _check(shares, listed)
    names = ids_of(episodes)
    groups = scenario_groups(episodes) if by == "scenario" else names
    side_of = {name: side for side, ids in listed.items() for name in ids}
    told = {group for name, group in zip(names, groups, strict=True) if name in side_of}
    free = Counter(group for group in groups if group not in told)
    drawn = _drawn(free, shares, seed)
    for name, group in zip(names, groups, strict=True):
        if name not in side_of and group in drawn:
            side_of[name] = drawn[group]
    order = [*shares, *(side for side in listed if side not in shares)]
    sides = {side: tuple(n for n in names if side_of.get(n) == side) for side in order}
    if empty := [side for side, ids in sides.items() if not ids]:
        raise ConfigError(
            f"the side '{empty[0]}' would be empty: {len(names)} dialogues about"
            f" {len(set(groups))} scenarios are too few",
            hint="give it a greater share, or leave it out",
        )
    return Split(
        by=by,
        shares=dict(shares),
        seed=seed if shares else None,
        lists=dict(lists or {}),
        sides=sides,
        left_out=tuple(name for name in names if name not in side_of),
        hash=digest_of(sides),
    )


def _drawn(groups: Mapping[str, int], shares: Mapping[str, float], seed: int) -> dict[str, str]:
    """The side of each group; a group goes where its middle dialogue falls.

    Args:
        groups: how many dialogues each has.
    """
    if not shares:
        return {}
    total, taken = sum(groups.values()), 0.0
    ends, passed = [], 0.0
    for side, share in shares.items():
        passed += share
        ends.append((passed * total, side))
    found = {}
    for group in hashed_order(groups, seed):
        middle = taken + groups[group] / 2
        found[group] = next((side for end, side in ends if middle < end), ends[-1][1])
        taken += groups[group]
    return found


def _check(shares: Mapping[str, float], listed: Mapping[str, Sequence[str]]) -> None:
    if not shares and not listed:
        raise ConfigError(
            "nothing says how to divide",
            hint="--shares train=0.8,valid=0.1,test=0.1, or --ids test=FILE",
        )
    problems = [
        f"'{side}' cannot name a side; letters, digits, - and _ can, a letter first"
        for side in (*shares, *listed)
        if not SIDE_NAME.fullmatch(side)
    ]
    problems += [f"{side} has a share and a list" for side in listed if side in shares]
    problems += [f"{side}={share:g} is not above 0" for side, share in shares.items() if share <= 0]
    if shares and not math.isclose(sum(shares.values()), 1):
        problems.append(f"shares sum to {sum(shares.values()):g}, not 1")
    if problems:
        raise ConfigError("the sides cannot be made so", problems=problems)
    counts = Counter(name for ids in listed.values() for name in ids)
    if twice := [name for name, count in counts.items() if count > 1]:
        raise DataError(
            f"{len(twice)} dialogues are in two lists ({', '.join(twice[:SHOWN])})",
            file=" and ".join(listed),
        )


def shared_scenarios(episodes: Sequence[Episode], split: Split) -> int:
    """How many scenarios are told on more than one side; 0 for sides that were drawn by scenario."""
    where = {name: side for side, ids in split.sides.items() for name in ids}
    found: dict[str, set[str]] = {}
    for name, group in zip(ids_of(episodes), scenario_groups(episodes), strict=True):
        if name in where:
            found.setdefault(group, set()).add(where[name])
    return sum(len(sides) > 1 for sides in found.values())
