"""Who takes part: unguessable links, consent, where each is, export and deletion of one."""

from __future__ import annotations

import hashlib
import json
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ...core.errors import ConfigError, DataError
from .database import OF_PARTICIPANT, StudyDatabase

_WHO = "SELECT *, id IN (SELECT participant FROM adjudicators) AS adjudicates FROM participants"


class Stage(StrEnum):
    """Where a participant is."""

    CONSENT = "consent"
    INSTRUCTIONS = "instructions"
    PRACTICE = "practice"
    TASKS = "tasks"
    SURVEY = "survey"
    FINISHED = "finished"
    DECLINED = "declined"
    LEFT = "left"
    BLOCKED = "blocked"

    @property
    def over(self) -> bool:
        """Whether nothing is asked any more."""
        return self in (Stage.FINISHED, Stage.DECLINED, Stage.LEFT, Stage.BLOCKED)


@dataclass(frozen=True, slots=True)
class Participant:
    """One participant.

    Attributes:
        name: the pseudonym, in ratings and everywhere else.
        country: whose help lines are shown; empty for everywhere.
        share: whether talks and choices may also train models.
        warned: whether the warning about failed checks was shown.
        adjudicates: decides what the reviewers of a corpus differ about, and reviews nothing.
    """

    id: int
    name: str
    stage: Stage
    country: str
    share: bool
    warned: bool
    adjudicates: bool = False


class IdTaken(ConfigError):
    """Somebody has started with that id from a recruiting site, in another session."""


class Participants:
    """The participants of an open study."""

    def __init__(self, study: StudyDatabase) -> None:
        self.study = study

    def join(
        self,
        external: str = "",
        session: str = "",
        *,
        country: str = "",
        adjudicates: bool = False,
    ) -> str:
        """A new participant, or the one who came before in the same session; gives the link's token.

        Only a hash of the token is stored. Who comes again with the same external id and session
        gets a new token, and the old one stops working.

        Args:
            external: id at a recruiting site, if any.
            session: what else the site says of this visit, which others cannot guess.
            adjudicates: see `Participant`.

        Raises:
            IdTaken: the id has started in another session.
        """
        token = secrets.token_urlsafe(24)
        with self.study.change() as db:
            if external:
                known = self.study.row(
                    "SELECT id, session FROM participants WHERE external = ?", external
                )
                if known is not None:
                    if not session or known["session"] != _digest(session):
                        raise IdTaken(
                            "somebody has started with this id already",
                            hint="go on in the window or with the link in which you began",
                        )
                    db.execute(
                        "UPDATE participants SET token = ? WHERE id = ?",
                        (_digest(token), known["id"]),
                    )
                    return token
            made = db.execute(
                "INSERT INTO participants (token, name, external, session, stage, country, share,"
                " warned, made) VALUES (?, ?, ?, ?, ?, ?, 0, 0, ?)",
                (
                    *(_digest(token), f"p-{secrets.token_hex(4)}", external or None),
                    *(_digest(session) if session else None, Stage.CONSENT.value, country),
                    self.study.clock(),
                ),
            )
            if adjudicates:
                db.execute("INSERT INTO adjudicators VALUES (?)", (made.lastrowid,))
        return token

    def by_token(self, token: str) -> Participant | None:
        """Whose link it is; None for a guess."""
        row = self.study.row(f"{_WHO} WHERE token = ?", _digest(token))
        return None if row is None else _participant(row)

    def by_name(self, name: str) -> Participant:
        """The participant of a pseudonym.

        Raises:
            DataError: there is none.
        """
        row = self.study.row(f"{_WHO} WHERE name = ?", name)
        if row is None:
            raise DataError(
                f"no participant '{name}'",
                file=self.study.path,
                hint="`warmline study status` lists the pseudonyms; nothing else identifies anyone",
            )
        return _participant(row)

    def all(self) -> list[Participant]:
        """All, in the order in which they came."""
        return [_participant(row) for row in self.study.rows(f"{_WHO} ORDER BY id")]

    def consent(self, who: Participant, *, agreed: bool, share: bool, country: str) -> None:
        """What was answered to the consent page; again has no effect."""
        stage = Stage.INSTRUCTIONS if agreed else Stage.DECLINED
        with self.study.change() as db:
            db.execute(
                "UPDATE participants SET stage = ?, share = ?, country = ?, consented = ?"
                " WHERE id = ? AND stage = ?",
                (
                    *(stage.value, int(agreed and share), country),
                    *(self.study.clock() if agreed else None, who.id, Stage.CONSENT.value),
                ),
            )

    def move(self, who: Participant, to: Stage) -> bool:
        """From the stage that was seen to another; False if it was left meanwhile."""
        with self.study.change() as db:
            done = db.execute(
                "UPDATE participants SET stage = ?, finished = ? WHERE id = ? AND stage = ?",
                (to.value, self.study.clock() if to.over else None, who.id, who.stage.value),
            )
            if to in (Stage.LEFT, Stage.BLOCKED):
                status = "left" if to is Stage.LEFT else "blocked"
                db.execute(  # what was typed and not sent is deleted
                    "UPDATE talks SET state = 'over', pending = NULL, candidates = NULL,"
                    " version = version + 1 WHERE task IN (SELECT id FROM tasks"
                    " WHERE participant = ? AND status = 'active')",
                    (who.id,),
                )
                db.execute(
                    "UPDATE tasks SET status = ? WHERE participant = ? AND status = 'active'",
                    (status, who.id),
                )
            if to is Stage.BLOCKED:
                db.execute(
                    "UPDATE tasks SET status = 'blocked' WHERE participant = ? AND status = 'done'",
                    (who.id,),
                )
        return done.rowcount == 1

    def choose_country(self, who: Participant, country: str) -> None:
        """Show the help lines of another country from now on."""
        with self.study.change() as db:
            db.execute("UPDATE participants SET country = ? WHERE id = ?", (country, who.id))

    def warn(self, who: Participant) -> None:
        """Remember that the warning was shown."""
        with self.study.change() as db:
            db.execute("UPDATE participants SET warned = 1 WHERE id = ?", (who.id,))

    def answer_survey(self, who: Participant, answers: dict[str, str]) -> None:
        """Keep the exit survey's answers; the first ones count."""
        with self.study.change() as db:
            db.execute(
                "UPDATE participants SET survey = ? WHERE id = ? AND survey IS NULL",
                (json.dumps(answers, ensure_ascii=False), who.id),
            )

    def everything(self, who: Participant) -> dict[str, Any]:
        """All that is stored of one participant, as plain data."""
        study = self.study
        own = dict(study.rows("SELECT * FROM participants WHERE id = ?", who.id)[0])
        del own["token"], own["session"], own["id"]
        found: dict[str, Any] = {"participant": own}
        for table in OF_PARTICIPANT:
            rows = study.rows(f"SELECT * FROM {table} WHERE participant = ?", who.id)  # noqa: S608 - ours
            found[table] = [_without_id(dict(row)) for row in rows]
        for table in ("talks", "answers"):
            rows = study.rows(
                f"SELECT * FROM {table} WHERE task IN"  # noqa: S608
                " (SELECT id FROM tasks WHERE participant = ?)",
                who.id,
            )
            found[table] = [dict(row) for row in rows]
        return found

    def forget(self, who: Participant) -> dict[str, int]:
        """Delete all that is stored of one participant; number of rows by table.

        Files of results that were written before still hold their ratings: write them again. The
        database's own write-ahead file is emptied too.
        """
        counts: dict[str, int] = {}
        with self.study.change() as db:
            for table in ("talks", "answers"):
                query = (
                    f"DELETE FROM {table} WHERE task IN"  # noqa: S608
                    " (SELECT id FROM tasks WHERE participant = ?)"
                )
                counts[table] = db.execute(query, (who.id,)).rowcount
            for table in OF_PARTICIPANT:
                query = f"DELETE FROM {table} WHERE participant = ?"  # noqa: S608
                counts[table] = db.execute(query, (who.id,)).rowcount
            counts["participants"] = db.execute(
                "DELETE FROM participants WHERE id = ?", (who.id,)
            ).rowcount
        self.study.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return counts


def _participant(row: Any) -> Participant:
    return Participant(
        id=row["id"],
        name=row["name"],
        stage=Stage(row["stage"]),
        country=row["country"],
        share=bool(row["share"]),
        warned=bool(row["warned"]),
        adjudicates=bool(row["adjudicates"]),
    )


def _without_id(row: dict[str, Any]) -> dict[str, Any]:
    row.pop("participant", None)
    return row


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
