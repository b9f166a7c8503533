"""Pools of examples for generation: the papers' `S` and `C` (FPEMF eq. 1-3, SweetieChat eq. 5).

A `Pools` value is frozen. A round of generation sees one of them from its beginning to its end, so
neither the order in which answers arrive nor a restart can change what was shown.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ....agents.observations import Case
from ....agents.roles import Role
from ....core.errors import DataError
from ...episodes.episode import Episode
from ...episodes.log import iter_episodes
from ...scenarios.problem_types import category_of, problem_types
from ...scenarios.scenario import CaseDialogue, CaseDialogueTurn, Profile, Scenario
from ...scenarios.seed_pool import CasePool, seed_dialogues, seed_scenarios
from .checks import MIN_WORDS, count_words


def depth_of(scenario: Scenario) -> int:
    """How many generations away from what people wrote; 0 for what they wrote."""
    return scenario.origin.depth if scenario.origin else 0


@dataclass(frozen=True)
class Pools:
    """What a round of generation may show.

    Attributes:
        scenarios: `S`, its scenarios; those that people wrote first.
        profiles: `C`, scenarios with a `Profile`.
        dialogues: `S`, its dialogues, as cases for supporters.
    """

    scenarios: tuple[Scenario, ...]
    profiles: tuple[Scenario, ...]
    dialogues: tuple[CaseDialogue, ...]

    @property
    def types(self) -> list[str]:
        """The problem types that have an example, in the papers' order, the user's own last."""
        there = dict.fromkeys(scenario.problem_type for scenario in self.scenarios)
        return [name for name in problem_types() if name in there] + [
            name for name in there if name not in problem_types()
        ]

    def grown(
        self,
        scenarios: Iterable[Scenario] = (),
        profiles: Iterable[Scenario] = (),
        dialogues: Iterable[CaseDialogue] = (),
    ) -> Pools:
        """These pools with more in each."""
        return replace(
            self,
            scenarios=(*self.scenarios, *scenarios),
            profiles=(*self.profiles, *profiles),
            dialogues=(*self.dialogues, *dialogues),
        )


def shipped_pools() -> Pools:
    """The pools that ship, all written by hand."""
    scenarios = seed_scenarios()
    return Pools(scenarios, _with_profile(scenarios), seed_dialogues())


def pools_from(path: str | Path, *, min_words: int = MIN_WORDS) -> Pools:
    """Pools from a corpus: the episodes of any run or import folder.

    Its situations need more than `min_words` words and one of the 45 problem types to become
    examples. Types that have none, and profiles where the corpus has none, come from the shipped
    pools.

    Raises:
        DataError: no log there, a line that is not an episode, or no episode that can serve.
    """
    scenarios: dict[str, Scenario] = {}
    dialogues = []
    for episode in iter_episodes(path):
        scenario = episode.scenario
        if scenario.problem_type not in problem_types():
            continue
        if count_words(scenario.situation) > min_words:
            scenarios.setdefault(scenario.situation, scenario)
        if not episode.truncated and len(episode.utterances) > 1:
            dialogues.append(case_of(episode))
    if not scenarios:
        raise DataError(
            f"no situation of more than {min_words} words about one of the 45 problem types",
            file=path,
            hint="give a folder of imported or simulated conversations (`warmline import` makes one)",
        )
    own = tuple(scenarios.values())
    covered = {scenario.problem_type for scenario in own}
    with_case = {dialogue.problem_type for dialogue in dialogues}
    shipped = shipped_pools()
    return Pools(
        (*own, *(s for s in shipped.scenarios if s.problem_type not in covered)),
        _with_profile(own) or shipped.profiles,
        (*dialogues, *(d for d in shipped.dialogues if d.problem_type not in with_case)),
    )


def _with_profile(scenarios: Iterable[Scenario]) -> tuple[Scenario, ...]:
    return tuple(
        scenario
        for scenario in scenarios
        if isinstance(scenario.profile, Profile) and scenario.profile.name
    )


def case_of(episode: Episode) -> CaseDialogue:
    """A finished conversation as a case for supporters."""
    return CaseDialogue(
        id=f"{episode.id}-case",
        problem_type=episode.scenario.problem_type,
        scenario=episode.scenario.id,
        turns=tuple(
            CaseDialogueTurn(role=Role(u.role), text=u.text, strategy=u.strategy)
            for u in episode.utterances
            if u.text
        ),
        source=episode.source or "simulated",
    )


# Drawing


def generated_among(number: int, count: int, share: float) -> int:
    """How many of the `count` examples of slot `number` may be generated ones.

    Shared out so that among all examples shown to the slots 0 to `number` at most `share` are
    generated, and nearly so many: with one example and a share of 0.5, every second slot has one.
    """
    before, after = int(number * count * share), int((number + 1) * count * share)
    return min(count, after - before)


def draw_examples(
    pool: Sequence[Scenario],
    problem_type: str,
    count: int,
    *,
    generated: int,
    max_depth: int,
    key: str,
) -> list[Scenario]:
    """Examples for one request, in random order fixed by `key`.

    Of the problem type; where it has too few, of its category.

    Args:
        pool: `S` or `C`.
        problem_type: of the scenario to be written.
        count: examples wanted.
        generated: at most so many of them may be generated.
        max_depth: of the new scenario; examples are less deep.
    """
    draw = random.Random(key)  # noqa: S311 - not cryptography
    category = category_of(problem_type)
    usable = [scenario for scenario in pool if depth_of(scenario) < max_depth]
    tests: tuple[Callable[[Scenario], bool], ...] = (
        lambda s: s.problem_type == problem_type,
        lambda s: s.problem_type != problem_type and category_of(s.problem_type) == category,
    )
    chosen: list[Scenario] = []
    for belongs in tests:
        near = [scenario for scenario in usable if belongs(scenario)]
        new = [scenario for scenario in near if depth_of(scenario) > 0]
        old = [scenario for scenario in near if depth_of(scenario) == 0]
        so_far = sum(depth_of(scenario) > 0 for scenario in chosen)
        room = count - len(chosen)
        chosen += _sample(draw, new, min(room, generated - so_far))
        chosen += _sample(draw, old, count - len(chosen))
    draw.shuffle(chosen)
    return chosen


def _sample(draw: random.Random, among: list[Scenario], count: int) -> list[Scenario]:
    return draw.sample(among, min(max(0, count), len(among)))


class GrowingCases(CasePool):
    """Case dialogues of which at most a share, rounded down, was generated.

    Args:
        written: by people.
        generated: by this build, in earlier rounds.
        share: maximum share of generated ones among the cases of one conversation.
    """

    def __init__(
        self, written: Sequence[CaseDialogue], generated: Sequence[CaseDialogue], share: float
    ) -> None:
        super().__init__([*written, *generated])
        self._written, self._generated = CasePool(written), CasePool(generated)
        self._share = share

    def draw(self, problem_type: str, count: int, *, scenario_id: str) -> tuple[Case, ...]:
        new = self._generated.draw(problem_type, int(count * self._share), scenario_id=scenario_id)
        old = self._written.draw(problem_type, count - len(new), scenario_id=scenario_id)
        return old + new
