"""The two journals of generation: what joined the pools, and what was refused and why.

`scenarios.jsonl` holds the accepted scenarios in the form that `read_scenarios` reads;
`rejects.jsonl` every refused situation and profile. Both only grow, line by line, and both survive
a kill at any moment: together they say which attempts are decided, and the rest is asked again.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Annotated, Literal, Protocol, Self, TypeVar

from pydantic import Field, ValidationError

from ....core.errors import DataError
from ....core.jsonl import LineLog, complete_lines
from ....core.record import Record, problems_of
from ...scenarios.scenario import Scenario

SCENARIOS_NAME = "scenarios.jsonl"
REJECTS_NAME = "rejects.jsonl"

R = TypeVar("R", bound=Record)


class Reject(Record):
    """One refused answer.

    Attributes:
        slot: id of the place in the plan.
        stage: what was asked for.
        attempt: situation of this slot, from 1.
        tried: profile for this situation, from 1; 0 for a situation.
        reason: short and countable, such as `near-duplicate`.
        detail: what exactly.
        text: the answer as written.
        situation: for a profile, the situation it was for.
    """

    slot: str
    problem_type: str
    stage: Literal["scenario", "profile"]
    round: Annotated[int, Field(ge=1)]
    attempt: Annotated[int, Field(ge=1)]
    tried: Annotated[int, Field(ge=0)] = 0
    reason: str
    detail: str = ""
    text: str = ""
    situation: str = ""


class Journal(Protocol):
    """What a round of generation needs of its journal; see `PoolJournal`."""

    scenarios: dict[str, Scenario]

    def accept(self, scenario: Scenario) -> None: ...
    def refuse(self, reject: Reject) -> None: ...
    def refused_profiles(self, slot: str, attempt: int) -> int: ...
    def is_decided(self, slot: str, attempt: int, profile_attempts: int) -> bool: ...
    def spent(self, profile_attempts: int) -> dict[str, str]: ...


class Nothing:
    """A journal that keeps nothing, for a round that another process decides."""

    def __init__(self) -> None:
        self.scenarios: dict[str, Scenario] = {}

    def accept(self, scenario: Scenario) -> None:
        """Is not kept."""

    def refuse(self, reject: Reject) -> None:
        """Is not kept."""

    def refused_profiles(self, slot: str, attempt: int) -> int:
        """None."""
        return 0

    def is_decided(self, slot: str, attempt: int, profile_attempts: int) -> bool:
        """Never."""
        return False

    def spent(self, profile_attempts: int) -> dict[str, str]:
        """None."""
        return {}


class PoolJournal:
    """Both journals of one folder, open for appending. Use as a context manager.

    Attributes:
        scenarios: accepted so far, by id.
        rejects: refused so far, in the order of the file.

    Raises:
        RunError: another process writes them, or the disk refuses.
        DataError: a line that is none of ours.
    """

    def __init__(self, folder: str | Path) -> None:
        self._accepted = LineLog(Path(folder) / SCENARIOS_NAME)
        self._refused = LineLog(Path(folder) / REJECTS_NAME)
        self._open = ExitStack()
        self.scenarios: dict[str, Scenario] = {}
        self.rejects: list[Reject] = []
        self._decided: set[tuple[str, int]] = set()
        self._refused_profiles: defaultdict[tuple[str, int], int] = defaultdict(int)

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            opening.enter_context(self._accepted)
            opening.enter_context(self._refused)
            self.scenarios = {s.id: s for s in _records(self._accepted.path, Scenario)}
            for reject in _records(self._refused.path, Reject):
                self._remember(reject)
            self._open = opening.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def accept(self, scenario: Scenario) -> None:
        """Write an accepted scenario."""
        line = scenario.model_dump_json(exclude_none=True, exclude_defaults=True)
        self._accepted.write_line(line, f"scenario '{scenario.id}'")
        self.scenarios[scenario.id] = scenario

    def refuse(self, reject: Reject) -> None:
        """Write a refused answer."""
        line = reject.model_dump_json(exclude_defaults=True)
        self._refused.write_line(line, f"the reject of '{reject.slot}'")
        self._remember(reject)

    def _remember(self, reject: Reject) -> None:
        self.rejects.append(reject)
        key = (reject.slot, reject.attempt)
        if reject.stage == "scenario":
            self._decided.add(key)
        else:
            self._refused_profiles[key] += 1

    def refused_profiles(self, slot: str, attempt: int) -> int:
        """How many profiles were refused for a slot's situation."""
        return self._refused_profiles[slot, attempt]

    def is_decided(self, slot: str, attempt: int, profile_attempts: int) -> bool:
        """Whether an attempt needs no more asking: refused, or out of profiles, or accepted."""
        if (slot, attempt) in self._decided or slot in self.scenarios:
            return True
        return self._refused_profiles[slot, attempt] >= profile_attempts

    def spent(self, profile_attempts: int) -> dict[str, str]:
        """Situations that were good but for which no profile was found, by a made-up id.

        New situations must not be near-duplicates of these either, since whether one is compared
        before or after the last profile is refused is a matter of time.
        """
        return {
            f"{reject.slot}/{reject.attempt}": reject.situation
            for reject in self.rejects
            if reject.stage == "profile" and reject.tried >= profile_attempts
        }


def _records(path: Path, model: type[R]) -> list[R]:
    records = []
    for number, line in complete_lines(path):
        try:
            records.append(model.model_validate_json(line))
        except ValidationError as error:
            raise DataError(
                "; ".join(problems_of(error, model)[:3]),
                file=path,
                line=number,
                hint="the journal was changed by something else; restore it or choose another folder",
            ) from None
    return records


def read_rejects(folder: str | Path) -> list[Reject]:
    """The refused answers of a build's folder.

    Raises:
        DataError: a line that is none of ours.
    """
    path = Path(folder) / REJECTS_NAME
    return _records(path, Reject) if path.is_file() else []
