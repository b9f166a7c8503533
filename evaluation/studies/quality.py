"""How carefully people work: attention checks, silent gold items, times; and what follows."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from enum import StrEnum

from pydantic import Field

from ...core.record import Record
from .database import StudyDatabase
from .participants import Participant, Participants, Stage
from .settings import Question, StudySettings
from .tasks import Task, Tasks


class Outcome(StrEnum):
    """What follows from a participant's failed checks."""

    FINE = "fine"
    WARN = "warn"
    BLOCK = "block"


class RaterReport(Record):
    """One participant's work.

    Attributes:
        tasks: number by status.
        seconds: median of the finished tasks; None without one.
        checks: by kind, how many passed of how many.
        failed: failed checks that count towards the thresholds.
        distinct: different values given; 1 of many is a straight line.
        answers: values given.
        survey: answers to the exit survey, by question.
        adjudicates: rules on what reviewers differ about, and reviews nothing.
    """

    name: str
    stage: str
    tasks: dict[str, int]
    seconds: float | None
    checks: dict[str, tuple[int, int]]
    failed: int
    distinct: int
    answers: int
    survey: dict[str, str] = Field(default_factory=dict)
    adjudicates: bool = False


class Quality:
    """The checks of an open study."""

    def __init__(self, study: StudyDatabase, settings: StudySettings, tasks: Tasks) -> None:
        self.study, self.settings, self.tasks = study, settings, tasks

    def attention(self, task: Task) -> Question | None:
        """The attention check of a task, if one is due."""
        every, asked = self.settings.quality.attention_every, self.settings.attention
        if not asked or task.number % every:
            return None
        return asked[(task.number // every - 1) % len(asked)]

    def check(
        self,
        who: Participant,
        task: Task,
        values: Mapping[str, float | None],
        attention: int | None,
    ) -> Outcome:
        """Keep what the checks of a task that is being finished say, and what follows.

        Part of the change under way.

        Args:
            values: what was answered, by dimension.
            attention: the option chosen at the attention check, from 1; None where there was none.
        """
        found: list[tuple[str, bool, str]] = []
        if (question := self.attention(task)) is not None:
            found.append(("attention", attention == question.answer, question.question))
        for gold in self.settings.gold:
            if gold.item == task.item.id and gold.dimension in values:
                value = values[gold.dimension]
                passed = value is not None and gold.low <= value <= gold.high
                found.append(("gold", passed, f"{gold.dimension}: {value}"))
        took = self.study.clock() - task.assigned
        if self.settings.quality.min_seconds and took >= 0:  # less: the clock was set back
            passed = took >= self.settings.quality.min_seconds
            found.append(("time", passed, f"{took:.0f} s"))
        with self.study.change() as db:
            for kind, passed, detail in found:
                db.execute(
                    "INSERT INTO checks (participant, task, kind, passed, detail, at)"
                    " VALUES (?, ?, ?, ?, ?, ?)",
                    (who.id, task.id, kind, int(passed), detail, self.study.clock()),
                )
        return self.outcome(who)

    def practised(self, who: Participant, number: int, passed: bool) -> None:
        """Keep an answer to a practice question; it counts towards nothing."""
        with self.study.change() as db:
            db.execute(
                "INSERT INTO checks (participant, task, kind, passed, detail, at)"
                " VALUES (?, NULL, 'practice', ?, ?, ?)",
                (who.id, int(passed), str(number), self.study.clock()),
            )

    def practice_done(self, who: Participant) -> int:
        """How many practice questions were answered rightly."""
        query = (
            "SELECT COUNT(DISTINCT detail) AS n FROM checks WHERE participant = ?"
            " AND kind = 'practice' AND passed"
        )
        return int(self.study.rows(query, who.id)[0]["n"])

    def failed(self, who: Participant) -> int:
        """Failed checks that count."""
        query = (
            "SELECT COUNT(*) AS n FROM checks WHERE participant = ? AND NOT passed"
            " AND kind != 'practice'"
        )
        return int(self.study.rows(query, who.id)[0]["n"])

    def outcome(self, who: Participant) -> Outcome:
        """What follows from the checks so far."""
        failed, rules = self.failed(who), self.settings.quality
        if rules.block_after is not None and failed >= rules.block_after:
            return Outcome.BLOCK
        if rules.warn_after is not None and failed >= rules.warn_after and not who.warned:
            return Outcome.WARN
        return Outcome.FINE

    def follow(self, who: Participant, outcome: Outcome, people: Participants) -> None:
        """Block who is to be blocked: nothing of theirs counts, and all of it is handed out again."""
        if outcome is Outcome.BLOCK:
            people.move(who, Stage.BLOCKED)

    def report(self, people: Participants) -> list[RaterReport]:
        """Every participant's work, in the order in which they came."""
        return [self._of(who) for who in people.all()]

    def _of(self, who: Participant) -> RaterReport:
        tasks: dict[str, int] = {}
        times = []
        for row in self.study.rows("SELECT * FROM tasks WHERE participant = ?", who.id):
            tasks[row["status"]] = tasks.get(row["status"], 0) + 1
            if row["done"] is not None:
                times.append(row["done"] - row["assigned"])
        checks: dict[str, tuple[int, int]] = {}
        for row in self.study.rows(
            "SELECT kind, SUM(passed) AS passed, COUNT(*) AS n FROM checks WHERE participant = ?"
            " GROUP BY kind",
            who.id,
        ):
            checks[row["kind"]] = (row["passed"], row["n"])
        values = [
            row["value"]
            for row in self.study.rows(
                "SELECT a.value FROM answers a JOIN tasks t ON t.id = a.task"
                " WHERE t.participant = ? AND a.value IS NOT NULL",
                who.id,
            )
        ]
        row = self.study.rows("SELECT survey FROM participants WHERE id = ?", who.id)[0]
        return RaterReport(
            name=who.name,
            stage=who.stage.value,
            tasks=tasks,
            seconds=statistics.median(times) if times else None,
            checks=checks,
            failed=self.failed(who),
            distinct=len(set(values)),
            answers=len(values),
            survey=json.loads(row["survey"] or "{}"),
            adjudicates=who.adjudicates,
        )
