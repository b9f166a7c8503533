"""The seed pool that ships: scenarios, profiles and dialogues for all 45 problem types.

Written by a language model working as this project's author; no real person's words. One TOML file a
problem type, in `seeds/`. The pool `S` of the papers begins with it, and it is a corpus to train on
(`environments/corpus/importing/seeds.py`), divided by `seed_side`.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import tomllib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import Any, Literal, get_args

from ...agents.observations import Case
from ...agents.roles import Role, Stage, Strategy
from ...core.errors import ConfigError, did_you_mean
from .problem_types import category_of, problem_types
from .samples import Samples
from .scenario import CaseDialogue, CaseDialogueTurn, Profile, Scenario

SOURCE = "warmline seed pool"
CASE_SETS = 8
"""Different sets of case dialogues that the conversations of one problem type draw from."""


SeedSide = Literal["train", "test"]
TEST_EVERY = 5
"""Of each problem type, every fifth scenario is kept for testing."""


def seed_side(scenario_id: str) -> SeedSide:
    """On which side a scenario of the seed pool and its dialogues are.

    A scenario's own number decides (`burnout-5` and `burnout-10~2` are for testing), so sides are
    alike in every problem type, and a pool that grows moves nothing.
    """
    number = scenario_id.partition("~")[0].rpartition("-")[2]
    return "test" if int(number) % TEST_EVERY == 0 else "train"


def seed_scenarios(side: SeedSide | None = None) -> tuple[Scenario, ...]:
    """The scenarios that ship, in the order of the problem types; or those of one side.

    Raises:
        ConfigError: no such side.
    """
    if side is None:
        return _scenarios()
    _check_side(side)
    return tuple(scenario for scenario in _scenarios() if seed_side(scenario.id) == side)


def seed_dialogues(side: SeedSide | None = None) -> tuple[CaseDialogue, ...]:
    """The dialogues that ship, in the order of the problem types; or those of one side.

    Raises:
        ConfigError: no such side.
    """
    if side is None:
        return _dialogues()
    _check_side(side)
    return tuple(dialogue for dialogue in _dialogues() if seed_side(dialogue.scenario) == side)


def _check_side(side: str) -> None:
    known = get_args(SeedSide)
    if side not in known:
        raise ConfigError(
            f"the seed pool has no side '{side}'; it has {' and '.join(known)}",
            hint=did_you_mean(side, known),
        )


@cache
def _scenarios() -> tuple[Scenario, ...]:
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
def _dialogues() -> tuple[CaseDialogue, ...]:
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
    return tuple(tomllib.loads(text) for text in _texts())


def _texts() -> Iterator[str]:
    folder = files(__package__).joinpath("seeds")
    for kind in problem_types().values():
        yield folder.joinpath(f"{kind.slug}.toml").read_text("utf-8")


def seed_digest() -> str:
    """SHA-256, in hex, of the files of the pool one after another."""
    return hashlib.sha256("".join(_texts()).encode()).hexdigest()


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
        self._of_type: dict[str, list[CaseDialogue]] = {}
        for dialogue in self.dialogues:
            self._of_type.setdefault(dialogue.problem_type, []).append(dialogue)
        self._rendered: dict[str, Case] = {}

    def draw(self, problem_type: str, count: int, *, scenario_id: str) -> tuple[Case, ...]:
        """Up to `count` cases: of the problem type first, then of its category (FPEMF §3.1.3).

        A case made from the scenario that is being played is left out, since it would tell the
        supporter what only the seeker knows. The choice depends on problem type and scenario id
        alone, and a type has at most `CASE_SETS` of them: conversations then share the beginning of
        the supporter's prompt, and an engine's prefix cache serves it.
        """
        played = scenario_id.split("~")[0]
        number = zlib.crc32(played.encode()) % CASE_SETS
        order = random.Random(f"{problem_type}/{number}")  # noqa: S311 - not cryptography
        chosen = _untold(self._of_type.get(problem_type, ()), played)
        order.shuffle(chosen)
        if len(chosen) < count:
            near = _untold(self._near(problem_type), played)
            order.shuffle(near)
            chosen += near
        return tuple(self._case(dialogue) for dialogue in chosen[:count])

    def _near(self, problem_type: str) -> list[CaseDialogue]:
        """The dialogues of the other types of a category, in the order of the pool."""
        if not (category := category_of(problem_type)):
            return []
        others = {k for k in self._of_type if k != problem_type and category_of(k) == category}
        return [dialogue for dialogue in self.dialogues if dialogue.problem_type in others]

    def _case(self, dialogue: CaseDialogue) -> Case:
        if dialogue.id not in self._rendered:
            self._rendered[dialogue.id] = dialogue.as_case()
        return self._rendered[dialogue.id]


def _untold(dialogues: Iterable[CaseDialogue], played: str) -> list[CaseDialogue]:
    """Those that tell another scenario than the one that is played, or none."""
    return [d for d in dialogues if not d.scenario or d.scenario != played]
