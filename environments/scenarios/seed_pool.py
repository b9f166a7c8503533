"""The seed pool that ships: hand-written scenarios, profiles and case dialogues for all 45 types.

One TOML file a problem type, in `seeds/`. The pool `S` of the papers begins with it.
"""

from __future__ import annotations

import itertools
import random
import tomllib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Any

from ...agents.observations import Case
from ...agents.roles import Role, Stage, Strategy
from ...core.errors import ConfigError
from .problem_types import category_of, problem_types
from .samples import Samples
from .scenario import CaseDialogue, CaseDialogueTurn, Profile, Scenario

SOURCE = "warmline seed pool"
CASE_SETS = 8
"""Different sets of case dialogues that the conversations of one problem type draw from."""


@cache
def seed_scenarios() -> tuple[Scenario, ...]:
    """The scenarios that ship, in the order of the problem types."""
    return tuple(
        Scenario(
            id=entry["id"],
            problem_type=data["problem_type"],
            situation=" ".join(entry["situation"].split()),
            profile=Profile(**entry["profile"]),
            source=SOURCE,
        )
        for data in _files()
        for entry in data["scenario"]
    )


@cache
def seed_dialogues() -> tuple[CaseDialogue, ...]:
    """The case dialogues that ship."""
    return tuple(
        CaseDialogue(
            id=entry["id"],
            problem_type=data["problem_type"],
            scenario=entry["scenario"],
            turns=tuple(turn for pair in entry["turn"] for turn in _turns(pair)),
            source=SOURCE,
        )
        for data in _files()
        for entry in data["dialogue"]
    )


def _turns(pair: dict[str, str]) -> tuple[CaseDialogueTurn, CaseDialogueTurn]:
    stage = Stage(pair["stage"])
    return (
        CaseDialogueTurn(role=Role.SEEKER, text=pair["seeker"], stage=stage),
        CaseDialogueTurn(
            role=Role.SUPPORTER,
            text=pair["supporter"],
            strategy=Strategy(pair["strategy"]),
            stage=stage,
        ),
    )


@cache
def _files() -> tuple[dict[str, Any], ...]:
    folder = files(__package__).joinpath("seeds")
    return tuple(
        tomllib.loads(folder.joinpath(f"{kind.slug}.toml").read_text("utf-8"))
        for kind in problem_types().values()
    )


def draw_scenarios(
    count: int, *, seed: int, pool: Sequence[Scenario] | None = None
) -> Sequence[Scenario]:
    """`count` scenarios in seeded random order, from the seed pool unless another is given.

    No scenario comes twice before all came once; a repeated one gets the id `<id>~2` and so on. A
    longer draw with the same seed begins with the shorter one, so a run can be extended.
    """
    pool = seed_scenarios() if pool is None else tuple(pool)
    if not pool:
        raise ConfigError("no scenario to draw from")
    return Samples(pool, islice(_drawn(len(pool), seed), max(0, count)))


def _drawn(size: int, seed: int) -> Iterator[tuple[int, int]]:
    """Places in a pool and numbers of the conversation, without an end."""
    for cycle in itertools.count(1):
        order = list(range(size))
        random.Random(f"{seed}/{cycle}").shuffle(order)  # noqa: S311 - not cryptography
        yield from ((place, cycle) for place in order)


class CasePool:
    """Case dialogues, drawn for a supporter by problem type.

    Args:
        dialogues: the pool; those that ship by default.
    """

    def __init__(self, dialogues: Iterable[CaseDialogue] | None = None) -> None:
        self.dialogues = tuple(seed_dialogues() if dialogues is None else dialogues)
        self._rendered: dict[str, Case] = {}

    def draw(self, problem_type: str, count: int, *, scenario_id: str) -> tuple[Case, ...]:
        """Up to `count` cases: of the problem type first, then of its category (FPEMF §3.1.3).

        A case made from the scenario that is being played is left out, since it would tell the
        supporter what only the seeker knows. The choice depends on problem type and scenario id
        alone, and a type has at most `CASE_SETS` of them: conversations then share the beginning of
        the supporter's prompt, and an engine's prefix cache serves it.
        """
        played = scenario_id.split("~")[0]
        category = category_of(problem_type)
        number = zlib.crc32(played.encode()) % CASE_SETS
        order = random.Random(f"{problem_type}/{number}")  # noqa: S311 - not cryptography
        same, near = [], []
        for dialogue in self.dialogues:
            if dialogue.scenario and dialogue.scenario == played:
                continue
            if dialogue.problem_type == problem_type:
                same.append(dialogue)
            elif category and category_of(dialogue.problem_type) == category:
                near.append(dialogue)
        order.shuffle(same)
        order.shuffle(near)
        return tuple(self._case(dialogue) for dialogue in (same + near)[:count])

    def _case(self, dialogue: CaseDialogue) -> Case:
        if dialogue.id not in self._rendered:
            self._rendered[dialogue.id] = dialogue.as_case()
        return self._rendered[dialogue.id]
