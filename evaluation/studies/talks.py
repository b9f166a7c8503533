"""Conversations under way: what may happen next, and every step on disk before the page replies.

A talk is in one state; each step names the version of the talk that the page showed, so a second click,
an old page or another window changes nothing. What waits for a model is asked again after a restart.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from ...agents.roles import Role
from ...core.errors import RunError
from ...environments.episodes.episode import Episode
from ...environments.scenarios.scenario import UNSPECIFIED, Scenario
from ...policies.safety import crisis_kinds
from .alarms import Alarms
from .assignment import shown_first, tie_goes_to
from .database import StudyDatabase
from .exchange import Exchanged, begun
from .settings import StudySettings
from .tasks import Answer, Task, Tasks

Side = Literal["A", "B"]


class State(StrEnum):
    """What a talk waits for."""

    OPEN = "open"
    """The person's words."""
    HELD = "held"
    """The person's word that their message, which holds crisis language, is to be sent."""
    ASKED = "asked"
    """A model."""
    NOTICE = "notice"
    """The person, who is shown help lines before a reply that holds crisis language."""
    CHOOSE = "choose"
    """The person's choice between two replies."""
    FAILED = "failed"
    """The person, who may have the model asked again."""
    OVER = "over"
    """Nothing."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of two replies.

    Attributes:
        side: A is the model named first in the item.
        guidance: it is the help-line guidance in a small model's place.
    """

    side: Side
    text: str
    guidance: bool


@dataclass(frozen=True, slots=True)
class Talk:
    """A talk as it stands.

    Attributes:
        version: counts the steps.
        pending: typed and not yet answered.
        candidates: of the reply that is to be chosen, in the order of showing.
        noticed: whether the help lines were shown in this talk.
    """

    task: str
    version: int
    state: State
    episode: Episode
    pending: str
    candidates: tuple[Candidate, ...]
    noticed: bool

    @property
    def exchanges(self) -> int:
        """Messages of the person that were answered."""
        return sum(said.role is Role.SUPPORTER for said in self.episode.utterances)

    @property
    def turn(self) -> int:
        """Number of the exchange under way, from 0."""
        return self.exchanges

    @property
    def crisis(self) -> bool:
        """Whether crisis language was found in what was said."""
        return any(said.crisis for said in self.episode.utterances)


class Talks:
    """The talks of an open study."""

    def __init__(
        self, study: StudyDatabase, settings: StudySettings, tasks: Tasks, alarms: Alarms
    ) -> None:
        self.study, self.settings, self.tasks, self.alarms = study, settings, tasks, alarms

    def begin(self, task: Task, environment: Any) -> None:
        """Make the talk of a task; again has no effect."""
        if self.study.row("SELECT 1 FROM talks WHERE task = ?", task.id) is not None:
            return
        given = task.item.payload.get("scenario")
        about = (
            Scenario.model_validate({**given, "id": task.id})
            if given
            else Scenario(id=task.id, problem_type=UNSPECIFIED, situation=UNSPECIFIED)
        )
        episode = begun(environment, about, self.settings.seed)
        with self.study.change() as db:
            db.execute(
                "INSERT OR IGNORE INTO talks VALUES (?, 0, ?, NULL, ?, NULL, 0, 0, '', '')",
                (task.id, episode.to_json(), State.OPEN.value),
            )

    def find(self, task: str) -> Talk | None:
        """The talk of a task; None where it is not begun, or deleted."""
        row = self.study.row("SELECT * FROM talks WHERE task = ?", task)
        return None if row is None else self._talk(row)

    def of(self, task: str) -> Talk:
        """The talk of a task that is being worked on.

        Raises:
            RunError: it is not begun, or was deleted.
        """
        found = self.find(task)
        if found is None:
            raise RunError("that conversation is not there", hint="open the page again")
        return found

    # The person's steps; each gives whether it was taken

    def say(self, task: Task, text: str, version: int) -> bool:
        """Type something. Crisis language in it is marked and held until the person has seen help."""
        kinds = crisis_kinds(text)
        state = State.HELD if kinds else State.ASKED
        with self.study.change() as db:
            taken = self._step(
                db, task.id, version, (State.OPEN,), state=state, pending=text,
                noticed=1 if kinds else None,
            )  # fmt: skip
            if taken and kinds:
                self.alarms.mark(task.participant, task.id, "person", kinds)
            self.tasks.touch(task)
        return taken

    def send(self, task: Task, version: int) -> bool:
        """Send the message that was held, or ask again what failed."""
        with self.study.change() as db:
            self.tasks.touch(task)
            return self._step(db, task.id, version, (State.HELD, State.FAILED), state=State.ASKED)

    def take_back(self, task: Task, version: int) -> bool:
        """Do not send the message that was held: it is deleted, only the mark stays."""
        with self.study.change() as db:
            self.tasks.touch(task)
            return self._step(
                db, task.id, version, (State.HELD, State.FAILED), state=State.OPEN, pending=""
            )

    def seen(self, task: Task, version: int) -> bool:
        """The help lines before a reply were seen."""
        with self.study.change() as db:
            state = State.CHOOSE if self.of(task.id).candidates else State.OPEN
            self.tasks.touch(task)
            return self._step(db, task.id, version, (State.NOTICE,), state=state)

    def choose(self, task: Task, version: int, values: dict[str, float]) -> bool:
        """Choose between two replies: the better goes on, of a tie the drawn one.

        Args:
            values: by dimension: 1 for A, -1 for B, 0 for a tie; the first dimension decides.
        """
        with self.study.change() as db:
            row = db.execute("SELECT * FROM talks WHERE task = ?", (task.id,)).fetchone()
            talk = self.of(task.id)
            if talk.state is not State.CHOOSE or talk.version != version:
                return False
            deciding = next(iter(values.values()))
            chosen: Side = tie_goes_to(self.settings.seed, task.id, talk.turn)
            if deciding:
                chosen = "A" if deciding > 0 else "B"
            stored = json.loads(row["candidates"])
            first = shown_first(self.settings.seed, task.id, talk.turn)
            notes = {
                "texts": {side: stored[side]["text"] for side in "AB"},
                "policies": {side: stored[side]["model"] for side in "AB"},
                "chosen": chosen,
            }
            self.tasks.answer(
                task,
                [
                    Answer(name, value, turn=talk.turn, first=first, notes=notes)
                    for name, value in values.items()
                ],
            )
            return self._step(
                db, task.id, version, (State.CHOOSE,), state=State.OPEN,
                pending="", candidates="", episode=stored[chosen]["episode"],
            )  # fmt: skip

    def close(self, task: Task, why: str) -> None:
        """End the talk; what waits for a model is dropped."""
        with self.study.change() as db:
            db.execute(
                "UPDATE talks SET state = ?, closed = ?, pending = NULL, candidates = NULL,"
                " version = version + 1 WHERE task = ? AND state != ?",
                (State.OVER.value, why, task.id, State.OVER.value),
            )

    # The models' steps

    def answered(self, task: Task, version: int, replies: Sequence[tuple[str, Exchanged]]) -> bool:
        """Keep what the models answered: one reply, or two to choose between.

        A reply with crisis language is marked; the first in a talk stands behind the help lines.

        Args:
            version: of the talk that they were asked for.
            replies: model and reply, in the order of the item's models.
        """
        kinds = tuple(dict.fromkeys(k for _, each in replies for k in each.reply.crisis))
        guided = next((each for _, each in replies if each.guidance), None)
        with self.study.change() as db:
            talk = self.find(task.id)
            if talk is None or talk.version != version or talk.state is not State.ASKED:
                return False
            marked = bool(kinds) and guided is None
            hold = marked and not talk.noticed
            fields: dict[str, Any] = {"state": State.OPEN, "pending": "", "error": ""}
            if len(replies) == 1 or guided is not None:
                kept = guided or replies[0][1]
                fields["episode"] = kept.episode.to_json()
            else:
                fields["state"] = State.CHOOSE
                fields["pending"] = None  # shown until one is chosen
                fields["candidates"] = json.dumps(
                    {
                        side: {
                            "model": model,
                            "text": each.reply.text,
                            "guidance": each.guidance,
                            "episode": each.episode.to_json(),
                        }
                        for side, (model, each) in zip("AB", replies, strict=True)
                    },
                    ensure_ascii=False,
                )
            if hold:
                fields |= {"state": State.NOTICE, "noticed": 1}
            if marked:
                self.alarms.mark(task.participant, task.id, "model", kinds)
            return self._step(db, task.id, version, (State.ASKED,), **fields)

    def failed(self, task: Task, version: int, error: str, episode: Episode | None = None) -> bool:
        """A model failed; the person may have it asked again.

        Args:
            episode: the dialogue with the calls that failed; None leaves it as it is.
        """
        with self.study.change() as db:
            db.execute("UPDATE talks SET failures = failures + 1 WHERE task = ?", (task.id,))
            return self._step(
                db, task.id, version, (State.ASKED,), state=State.FAILED, error=error[:2000],
                episode=episode and episode.to_json(),
            )  # fmt: skip

    def waiting(self) -> list[str]:
        """Tasks whose talk waits for a model, after a restart say."""
        rows = self.study.rows(
            "SELECT k.task FROM talks k JOIN tasks t ON t.id = k.task"
            " WHERE k.state = 'asked' AND t.status = 'active'"
        )
        return [row["task"] for row in rows]

    # Inside

    def _step(
        self,
        db: sqlite3.Connection,
        task: str,
        version: int,
        allowed: Sequence[State],
        **fields: Any,
    ) -> bool:
        """Change a talk if it is at `version` and in an allowed state. None leaves a field as it is."""
        sets = {name: value or None for name, value in fields.items() if value is not None}
        sets |= {name: fields[name] or "" for name in ("error",) if name in fields}
        names = ", ".join(f"{name} = ?" for name in sets)
        states = ", ".join("?" for _ in allowed)
        done = db.execute(
            f"UPDATE talks SET {names}, version = version + 1"  # noqa: S608 - our own names
            f" WHERE task = ? AND version = ? AND state IN ({states})",
            (*map(_plain, sets.values()), task, version, *(state.value for state in allowed)),
        )
        return done.rowcount == 1

    def _talk(self, row: sqlite3.Row) -> Talk:
        episode = Episode.model_validate_json(row["episode"])
        candidates: tuple[Candidate, ...] = ()
        if row["candidates"]:
            stored = json.loads(row["candidates"])
            turn = sum(said.role is Role.SUPPORTER for said in episode.utterances)
            first = shown_first(self.settings.seed, row["task"], turn)
            order: tuple[Side, Side] = ("A", "B") if first == "A" else ("B", "A")
            candidates = tuple(
                Candidate(side, stored[side]["text"], stored[side]["guidance"]) for side in order
            )
        return Talk(
            task=row["task"],
            version=row["version"],
            state=State(row["state"]),
            episode=episode,
            pending=row["pending"] or "",
            candidates=candidates,
            noticed=bool(row["noticed"]),
        )


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, StrEnum) else value
