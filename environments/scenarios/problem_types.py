"""The 45 problem types in 5 categories, with their published counts (FPEMF Table 1)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from ...core.errors import DataError, did_you_mean


@dataclass(frozen=True, slots=True)
class ProblemType:
    """One kind of problem.

    Attributes:
        name: as the papers print it.
        category: one of the five categories.
        count: ServeForEmo's dialogues of this type (they sum to 3,757); serves as sampling weight.
            FPEMF prints the same counts for EmoCare although they do not sum to its 2,574.
    """

    name: str
    category: str
    count: int

    @property
    def slug(self) -> str:
        """The name in lower case and hyphens, without a bracketed abbreviation; names its files."""
        plain = self.name.split("(")[0].lower()
        return "-".join("".join(c if c.isalnum() else " " for c in plain).split())


@cache
def problem_types() -> dict[str, ProblemType]:
    """All problem types by name, in the papers' order."""
    text = files(__package__).joinpath("problem_types.toml").read_text("utf-8")
    return {
        name: ProblemType(name, category, count)
        for category, types in tomllib.loads(text).items()
        for name, count in types.items()
    }


def category_of(problem_type: str) -> str:
    """The category of a problem type; empty for a type of the user's own."""
    known = problem_types().get(problem_type)
    return known.category if known else ""


def find_problem_type(name: str) -> ProblemType:
    """The problem type by its exact name.

    Raises:
        DataError: no such type; the closest is suggested.
    """
    if (found := problem_types().get(name)) is None:
        raise DataError(
            f"no problem type '{name}'",
            file="problem_types.toml",
            hint=did_you_mean(name, problem_types()) or "`warmline show types` lists all 45",
        )
    return found
