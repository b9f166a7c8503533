"""Tasks: handed out, taken back when nobody works on them, and answered."""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from .assignment import Load, next_item
from .database import StudyDatabase
from .participants import Participant
from .settings import StudySettings

Status = Literal["active", "done", "left", "expired", "blocked"]
COUNTED = ("active", "done")
"""States of a task that take a place of its item."""


@dataclass(frozen=True, slots=True)
class Item:
    """Something to work on.

    Attributes:
        payload: plain data, see `items.py`.
        gold: whether it is a silent check.
    """

    id: str
    payload: dict[str, Any]
    gold: bool = False


@dataclass(frozen=True, slots=True)
class Task:
    """One item given to one participant.

    Attributes:
        number: of the participant's tasks, from 1.
        assigned: when, seconds since 1970.
    """

    id: str
    number: int
    item: Item
    participant: int
    status: Status
    assigned: float


@dataclass(frozen=True, slots=True)
class Answer:
    """One value on one dimension.

    Attributes:
        value: on the rubric's scale; of a comparison 1 for A, -1 for B, 0 for a tie.
        turn: exchange that it is about, from 0; -1 for the whole.
        first: which text stood first; empty where two were not compared.
        notes: plain data for the record.
    """

    dimension: str
    value: float | None
    turn: int = -1
    first: str = ""
    explanation: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict)


class Tasks:
    """The tasks of an open study."""

    def __init__(self, study: StudyDatabase, settings: StudySettings) -> None:
        self.study, self.settings = study, settings

    def enrol(self, items: Iterable[Item]) -> int:
        """Take items in; those that are there stay as they are. Number of new ones."""
        with self.study.change() as db:
            place = self.study.rows("SELECT COUNT(*) AS n FROM items")[0]["n"]
            before = place
            for item in items:
                place += db.execute(
                    "INSERT OR IGNORE INTO items VALUES (?, ?, ?, ?)",
                    (item.id, place, json.dumps(item.payload, ensure_ascii=False), int(item.gold)),
                ).rowcount
        return int(place - before)

    # Handing out

    def current(self, who: Participant) -> Task | None:
        """The task that a participant is at, if they have one that has not expired."""
        self._expire()
        return self._one("t.participant = ? AND t.status = 'active'", who.id)

    def hand_out(self, who: Participant) -> Task | None:
        """The task under way, or a new one; None if all is done or nothing is left."""
        with self.study.change() as db:
            self._expire()
            if (
                found := self._one("t.participant = ? AND t.status = 'active'", who.id)
            ) is not None:
                return found
            done = self.done(who)
            if done >= self.settings.tasks:
                return None
            chosen = next_item(
                self.loads(who),
                overlap=self.settings.places,
                rule=self.settings.assignment,
                seed=self.settings.seed,
                participant=who.name,
                done=done,
                gold_every=self.settings.quality.gold_every,
            )
            if chosen is None:
                return None
            task, now = secrets.token_hex(8), self.study.clock()
            number = self.study.rows(
                "SELECT COUNT(*) AS n FROM tasks WHERE participant = ?", who.id
            )[0]["n"]
            db.execute(
                "INSERT INTO tasks SELECT ?, ?, id, ?, 'active', gold, ?, ?, NULL FROM items"
                " WHERE id = ?",
                (task, number + 1, who.id, now, now, chosen),
            )
            return self._one("t.id = ?", task)

    def loads(self, who: Participant) -> list[Load]:
        """Every item as it stands for one participant."""
        rows = self.study.rows(
            "SELECT i.id, i.gold, SUM(t.status IN ('active', 'done')) AS taken,"
            " SUM(t.participant = ?) AS mine FROM items i LEFT JOIN tasks t ON t.item = i.id"
            " GROUP BY i.id ORDER BY i.place",
            who.id,
        )
        return [Load(r["id"], r["taken"] or 0, bool(r["mine"]), bool(r["gold"])) for r in rows]

    def of(self, who: Participant, task: str) -> Task | None:
        """A task by its id, if it is this participant's; None for anything else."""
        self._expire()
        return self._one("t.id = ? AND t.participant = ?", task, who.id)

    def by_id(self, task: str) -> Task | None:
        """A task by its id, whoever's it is, while it is under way; for the study's own work."""
        self._expire()
        return self._one("t.id = ? AND t.status = 'active'", task)

    def done(self, who: Participant) -> int:
        """How many tasks the participant has finished."""
        query = "SELECT COUNT(*) AS n FROM tasks WHERE participant = ? AND status = 'done'"
        return int(self.study.rows(query, who.id)[0]["n"])

    def touch(self, task: Task) -> None:
        """Something was done: the time starts anew."""
        with self.study.change() as db:
            db.execute("UPDATE tasks SET seen = ? WHERE id = ?", (self.study.clock(), task.id))

    def leave(self, task: Task) -> None:
        """The participant gives the task up; it goes to somebody else."""
        with self.study.change() as db:
            db.execute(
                "UPDATE tasks SET status = 'left' WHERE id = ? AND status = 'active'", (task.id,)
            )

    def _expire(self) -> None:
        """Take back what nobody works on."""
        limit = self.study.clock() - 60 * self.settings.task_minutes
        where = "WHERE status = 'active' AND seen < ?"
        if self.study.row(f"SELECT 1 FROM tasks {where} LIMIT 1", limit) is not None:  # noqa: S608
            with self.study.change() as db:
                db.execute(f"UPDATE tasks SET status = 'expired' {where}", (limit,))  # noqa: S608

    def _one(self, where: str, *values: object) -> Task | None:
        row = self.study.row(
            "SELECT t.*, i.payload FROM tasks t JOIN items i ON i.id = t.item"  # noqa: S608 - ours
            f" WHERE {where}",
            *values,
        )
        return None if row is None else _task(row)

    # Answering

    def answer(self, task: Task, answers: Sequence[Answer]) -> int:
        """Keep answers; the first to each question counts. Number of those that were new."""
        with self.study.change() as db:
            if not self._is_active(db, task):
                return 0
            new = 0
            for each in answers:
                new += db.execute(
                    "INSERT OR IGNORE INTO answers"
                    " (task, turn, dimension, value, first, explanation, notes, at)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        *(task.id, each.turn, each.dimension, each.value, each.first),
                        *(each.explanation, json.dumps(dict(each.notes), ensure_ascii=False)),
                        self.study.clock(),
                    ),
                ).rowcount
            db.execute("UPDATE tasks SET seen = ? WHERE id = ?", (self.study.clock(), task.id))
        return new

    def finish(self, task: Task, answers: Sequence[Answer]) -> bool:
        """Keep the last answers and end the task, at once; False if it was over already."""
        with self.study.change() as db:
            if not self._is_active(db, task):
                return False
            self.answer(task, answers)
            db.execute(
                "UPDATE tasks SET status = 'done', done = ? WHERE id = ?",
                (self.study.clock(), task.id),
            )
        return True

    def answers(self, task: Task) -> list[sqlite3.Row]:
        """What was answered to a task, oldest first."""
        return self.study.rows("SELECT * FROM answers WHERE task = ? ORDER BY number", task.id)

    def _is_active(self, db: sqlite3.Connection, task: Task) -> bool:
        self._expire()
        row = db.execute("SELECT status FROM tasks WHERE id = ?", (task.id,)).fetchone()
        return row is not None and row["status"] == "active"

    # Counting

    def progress(self) -> dict[str, int]:
        """Number of tasks by status, and of places that are still free."""
        counts: Counter[str] = Counter()
        for row in self.study.rows("SELECT status, COUNT(*) AS n FROM tasks GROUP BY status"):
            counts[row["status"]] = row["n"]
        taken = self.study.rows(
            "SELECT SUM(t.status IN ('active', 'done')) AS n FROM items i"
            " LEFT JOIN tasks t ON t.item = i.id WHERE NOT i.gold GROUP BY i.id"
        )
        free = sum(max(0, self.settings.places - (row["n"] or 0)) for row in taken)
        return {**counts, "free": free}


def _task(row: sqlite3.Row) -> Task:
    return Task(
        id=row["id"],
        number=row["number"],
        item=Item(row["item"], json.loads(row["payload"]), bool(row["gold"])),
        participant=row["participant"],
        status=row["status"],
        assigned=row["assigned"],
    )
