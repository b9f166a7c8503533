"""Scenarios, profiles and case dialogues, and where they are read from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError
from pydantic import model_validator as validator

from ...agents.observations import Case, CaseTurn
from ...agents.roles import Role, Stage, Strategy
from ...core.errors import DataError, did_you_mean
from ...core.jsonl import every_line, parse_json
from ...core.record import Record, Text, problems_of
from .problem_types import category_of, problem_types


class Profile(Record):
    """Who the seeker is (FPEMF eq. 3): known to the seeker only, as one sentence.

    Every field may be empty, `text` replaces the sentence that is otherwise made from the rest.
    """

    name: str = ""
    age: Annotated[int, Field(ge=0, le=130)] | None = None
    gender: str = ""
    occupation: str = ""
    location: str = ""
    traits: str = ""
    text: str = ""

    def __str__(self) -> str:
        if self.text:
            return self.text
        about = [self.name, str(self.age) if self.age is not None else "", self.gender]
        about += [self.occupation, f"from {self.location}" if self.location else "", self.traits]
        return ", ".join(filter(None, about))


class Origin(Record):
    """How a generated scenario came about (SweetieChat eq. 1-3 and 5).

    Attributes:
        depth: 1 + the greatest depth among the examples shown; those that ship and imported ones are
            0.
        round: of self-iteration, from 1.
        attempt: of this scenario's place in the plan, from 1.
        examples: ids of the scenarios shown as examples.
        written_by: name of the policy that wrote the situation.
        profile_by: name of the policy that wrote the profile; `drawn` if no policy did.
        profile_example: id of the scenario whose profile was shown as the example.
    """

    depth: Annotated[int, Field(ge=1)]
    round: Annotated[int, Field(ge=1)]
    attempt: Annotated[int, Field(ge=1)]
    examples: tuple[str, ...] = ()
    written_by: str = ""
    profile_by: str = ""
    profile_example: str = ""


UNSPECIFIED = "unspecified"
"""Situation or problem type of an imported dialogue whose source names none."""


class Scenario(Record):
    """What a conversation is about; the seeker's private knowledge but for the problem type.

    Attributes:
        id: unique within a run; seeds derive from it.
        problem_type: one of the 45, or the user's own; a file must give those of the user's own a
            category, so that a misspelt type is not taken for one.
        situation: what happened, in more than 20 words for the corpus of the papers.
        profile: who the seeker is; a sentence or a `Profile`.
        category: of the problem type; filled in for the 45.
        source: where the scenario comes from.
        origin: how a build generated it; None for any other.
    """

    id: Text
    problem_type: Text
    situation: Text
    profile: str | Profile = ""
    category: str = ""
    source: str = ""
    origin: Origin | None = None

    @validator(mode="before")
    @classmethod
    def _fill_category(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and not data.get("category"):
            return {**data, "category": category_of(str(data.get("problem_type", "")))}
        return data

    def sample(self, number: int) -> Self:
        """This scenario as the `number`-th conversation about it; the first keeps the id."""
        name = sample_id(self.id, number)
        return self if number == 1 else self.model_copy(update={"id": name})


def sample_id(name: str, number: int) -> str:
    """The id of the `number`-th conversation about a scenario; see `Scenario.sample`."""
    return name if number == 1 else f"{name}~{number}"


class CaseDialogue(Record):
    """A complete dialogue with strategy labels, shown to supporters as an example.

    Attributes:
        scenario: id of its scenario; a supporter never sees a case of the scenario being played.
    """

    id: Text
    problem_type: Text
    scenario: str = ""
    turns: tuple[CaseDialogueTurn, ...]
    source: str = ""

    def as_case(self) -> Case:
        """The form that prompts are rendered from."""
        return Case(
            self.problem_type, tuple(CaseTurn(t.role, t.text, t.strategy) for t in self.turns)
        )


class CaseDialogueTurn(Record):
    """One utterance of a case dialogue; supporter utterances carry strategy and stage."""

    role: Role
    text: Text
    strategy: Strategy | None = None
    stage: Stage | None = None


CaseDialogue.model_rebuild()


def read_scenarios(path: str | Path) -> list[Scenario]:
    """Scenarios from a JSONL file, one object a line, with the fields of `Scenario`.

    Raises:
        DataError: no such file; or a line that is not JSON, has an unknown or missing field, an
            unknown problem type without a category, or repeats an id. Names file, line and field.
    """
    scenarios: dict[str, Scenario] = {}
    for number, data in _json_lines(Path(path)):
        try:
            scenario = Scenario.model_validate(data)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise DataError(
                "; ".join(problems_of(error, Scenario)),
                file=path,
                line=number,
                field=".".join(map(str, first["loc"])) or None,
                hint="a scenario has the fields " + ", ".join(Scenario.model_fields),
            ) from None
        if not scenario.category and scenario.origin is None:
            raise _unknown_type(scenario.problem_type, path, number)
        if scenario.id in scenarios:
            raise DataError(
                f"the id '{scenario.id}' occurs twice", file=path, line=number, field="id"
            )
        scenarios[scenario.id] = scenario
    if not scenarios:
        raise DataError("holds no scenario", file=path, hint="one JSON object a line is expected")
    return list(scenarios.values())


def _unknown_type(name: str, path: str | Path, line: int) -> DataError:
    return DataError(
        f"unknown problem type '{name}'",
        file=path,
        line=line,
        field="problem_type",
        hint=did_you_mean(name, problem_types())
        or "`warmline types` lists all; for a type of your own, give its category too",
    )


def _json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    if not path.is_file():
        raise DataError("no such file", file=path, hint="check the path of the scenario file")
    for number, line in every_line(path):
        try:
            yield number, parse_json(line)
        except ValueError as error:
            why = (
                f"{error.msg} at column {error.colno}"
                if isinstance(error, json.JSONDecodeError)
                else error
            )
            raise DataError(
                f"not JSON: {why}",
                file=path,
                line=number,
                hint="each line must be one complete JSON object",
            ) from None
