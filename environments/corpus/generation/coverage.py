"""Which scenarios a corpus shall hold, planned before one is written, and what came of the plan.

Pure: equal arguments give equal plans. Quotas are shared out by largest remainder (Hamilton), over
categories first where they are weighted and then over the problem types of each.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from ....core.errors import ConfigError, did_you_mean
from ....core.record import Record
from ...scenarios.problem_types import ProblemType, problem_types
from ...scenarios.scenario import Profile, Scenario

Quotas = Literal["uniform", "published", "custom"]
Weight = Annotated[float, Field(ge=0, allow_inf_nan=False)]

PLANNABLE = ("age", "gender", "occupation", "location", "traits")
"""Fields of a profile that can be planned."""

_BAND = re.compile(r"(\d{1,3})\s*(?:-\s*(\d{1,3})|(\+))")


class Coverage(Record):
    """What the corpus must cover.

    Attributes:
        quotas: `uniform` gives every type the same, `published` ServeForEmo's shares (FPEMF Table
            1), `custom` the weights of `types`.
        types: weights of problem types; those not named get none. Only with `custom`.
        categories: weights of categories; those not named get none. Types share a category's quota.
        attributes: by profile field, the weights of its values; ages as bands (`18-29`, `65+`).
    """

    quotas: Quotas = "uniform"
    types: dict[str, Weight] = Field(default_factory=dict)
    categories: dict[str, Weight] = Field(default_factory=dict)
    attributes: dict[str, dict[str, Weight]] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Slot:
    """One scenario that is to be written.

    Attributes:
        number: place in the plan, from 0; the scenario's id comes from it.
        problem_type: what it is about.
        attributes: required values by profile field, in the order of the settings.
    """

    number: int
    problem_type: str
    attributes: tuple[tuple[str, str], ...] = ()

    @property
    def id(self) -> str:
        """The id of the scenario that fills it."""
        slug = ProblemType(self.problem_type, "", 0).slug
        return f"{slug}-g{self.number + 1:04d}"


def share_out(count: int, weights: Mapping[str, float]) -> dict[str, int]:
    """`count` whole things in proportion to `weights`, by largest remainder.

    Every share is the exact one rounded down or up, and they sum to `count`. Equal remainders go
    to the earlier name.

    Raises:
        ConfigError: no weight above zero.
    """
    total = sum(weights.values())
    if total <= 0:
        raise ConfigError("quotas need at least one weight above zero")
    exact = {name: count * weight / total for name, weight in weights.items()}
    shares = {name: int(share) for name, share in exact.items()}
    # rounded, so that thirds which differ in their last binary digit count as equal
    order = sorted(weights, key=lambda name: -round(exact[name] - shares[name], 9))
    for name in [n for n in order if weights[n] > 0][: count - sum(shares.values())]:
        shares[name] += 1
    return shares


def type_quotas(count: int, coverage: Coverage, types: Sequence[str]) -> dict[str, int]:
    """How many scenarios each of `types` gets, those with none included.

    Raises:
        ConfigError: weights for types or categories that there are not, or `custom` without weights
            and weights without `custom`; all problems at once.
    """
    problems = _problems(coverage, types)
    if problems:
        raise ConfigError("the coverage cannot be planned", problems=problems)
    known = problem_types()
    if coverage.quotas == "published":
        weights = {name: float(known[name].count) if name in known else 0.0 for name in types}
    elif coverage.quotas == "custom" and coverage.types:
        weights = {name: coverage.types.get(name, 0.0) for name in types}
    else:
        weights = dict.fromkeys(types, 1.0)
    if not coverage.categories:
        return share_out(count, weights)
    quotas = dict.fromkeys(types, 0)
    members = {
        category: {name: weights[name] for name in types if _category(name) == category}
        for category in coverage.categories
    }
    for category, share in share_out(count, coverage.categories).items():
        if share:
            quotas |= share_out(share, members[category])
    return quotas


def _category(problem_type: str) -> str:
    known = problem_types().get(problem_type)
    return known.category if known else ""


def _problems(coverage: Coverage, types: Sequence[str]) -> list[str]:
    problems = []
    if coverage.quotas == "custom" and not (coverage.types or coverage.categories):
        problems.append("quotas 'custom' need weights in [coverage.types] or [coverage.categories]")
    if coverage.types and coverage.quotas != "custom":
        problems.append(f"[coverage.types] has no effect with quotas '{coverage.quotas}'")
    categories = sorted({_category(name) for name in types})
    for names, there, what in (
        (coverage.types, types, "problem type"),
        (coverage.categories, categories, "category"),
        (coverage.attributes, PLANNABLE, "profile field"),
    ):
        for name in names:
            if name not in there:
                hint = did_you_mean(name, there) or f"there are: {', '.join(there)}"
                problems.append(f"no {what} '{name}' to plan; {hint}")
    problems += [
        f"'{band}' is not an age band; write 18-29 or 65+"
        for band in coverage.attributes.get("age", {})
        if not _BAND.fullmatch(band)
    ]
    return problems


def plan(count: int, coverage: Coverage, *, seed: int, types: Sequence[str]) -> list[Slot]:
    """The slots of a corpus, types mixed so that every stretch of the plan covers many of them.

    Args:
        count: scenarios.
        coverage: what they shall cover.
        seed: of the order and of which scenario gets which attributes.
        types: the problem types to choose from.

    Raises:
        ConfigError: see `type_quotas`.
    """
    order = list(types)
    random.Random(f"{seed}/types").shuffle(order)  # noqa: S311 - not cryptography
    quotas = type_quotas(count, coverage, order)  # so equal remainders go to types at random
    rounds = range(max(quotas.values(), default=0))
    mixed = [name for n in rounds for name in order if quotas[name] > n]
    columns = {
        field: _mixed_values(count, values, f"{seed}/{field}")
        for field, values in coverage.attributes.items()
    }
    return [
        Slot(number, name, tuple((field, column[number]) for field, column in columns.items()))
        for number, name in enumerate(mixed)
    ]


def _mixed_values(count: int, weights: Mapping[str, float], key: str) -> list[str]:
    values = [value for value, n in share_out(count, weights).items() for _ in range(n)]
    random.Random(key).shuffle(values)  # noqa: S311 - not cryptography
    return values


def age_limits(band: str) -> tuple[int, int]:
    """The least and greatest age of a band, both included: `18-29` or `65+` (to 99)."""
    found = _BAND.fullmatch(band)
    if found is None:
        raise ConfigError(f"'{band}' is not an age band", hint="write 18-29 or 65+")
    low, high, _ = found.groups()
    return int(low), int(high) if high else 99


def has_attribute(profile: Profile | str, field: str, value: str) -> bool:
    """Whether a profile has a planned value: an age in the band, or the words in the field."""
    if isinstance(profile, str):
        return False
    if field == "age":
        low, high = age_limits(value)
        return profile.age is not None and low <= profile.age <= high
    words = rf"\b{re.escape(value.casefold())}\b"
    return re.search(words, str(getattr(profile, field)).casefold()) is not None


class Cell(Record):
    """One row of a coverage report: what was planned under a name, and what there is."""

    name: str
    planned: int
    got: int

    @property
    def missing(self) -> int:
        """How many are lacking."""
        return max(0, self.planned - self.got)


class CoverageReport(Record):
    """Plan and outcome side by side; the holes are the cells that lack something."""

    planned: int
    got: int
    categories: tuple[Cell, ...]
    types: tuple[Cell, ...]
    attributes: dict[str, tuple[Cell, ...]]

    def holes(self) -> list[str]:
        """One line for each cell that lacks something."""
        named = {"category": self.categories, "problem type": self.types, **self.attributes}
        return [
            f"{what} '{cell.name}': {cell.got} of {cell.planned}"
            for what, cells in named.items()
            for cell in cells
            if cell.missing
        ]


def coverage_report(
    slots: Sequence[Slot], scenarios: Iterable[Scenario], types: Sequence[str]
) -> CoverageReport:
    """Planned against got, by category, type and attribute.

    Args:
        slots: the plan.
        scenarios: what there is.
        types: every problem type that the plan could have used; those without a slot are shown too.
    """
    scenarios = list(scenarios)
    asked = Counter(slot.problem_type for slot in slots)
    there = Counter(scenario.problem_type for scenario in scenarios)
    by_category = (
        Counter(_category(slot.problem_type) for slot in slots),
        Counter(_category(scenario.problem_type) for scenario in scenarios),
    )
    categories = list(dict.fromkeys(_category(name) for name in types))
    values = Counter(pair for slot in slots for pair in slot.attributes)
    fields = dict.fromkeys(field for field, _ in values)
    return CoverageReport(
        planned=len(slots),
        got=len(scenarios),
        categories=_cells(categories, *by_category),
        types=_cells(types, asked, there),
        attributes={
            field: tuple(
                Cell(
                    name=value,
                    planned=planned,
                    got=sum(has_attribute(s.profile, field, value) for s in scenarios),
                )
                for (name, value), planned in sorted(values.items())
                if name == field
            )
            for field in fields
        },
    )


def _cells(names: Iterable[str], planned: Counter[str], got: Counter[str]) -> tuple[Cell, ...]:
    return tuple(Cell(name=name, planned=planned[name], got=got[name]) for name in names)
