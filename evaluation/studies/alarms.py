"""Alarms: crisis language was found in what a participant typed, or in what a model wrote to them.

An alarm is a mark in the study's file and is told to the study's contact: on the page of the study's
owner, in a line on the terminal, and by the contact's own command. None of these repeats a word of
what was written.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

from .database import StudyDatabase
from .settings import StudySettings

Source = Literal["person", "model", "words"]
"""Typed to a supporter; written by a model; typed elsewhere (a reason, the survey)."""

TELL_SECONDS = 30.0
"""How long the contact's command may take."""


class Alarms:
    """The alarms of an open study.

    Args:
        tell: prints one line for whoever runs the study.
    """

    def __init__(
        self, study: StudyDatabase, settings: StudySettings, tell: Callable[[str], None]
    ) -> None:
        self.study, self.settings, self.tell = study, settings, tell

    def mark(
        self, participant: int, task: str | None, source: Source, kinds: tuple[str, ...]
    ) -> None:
        """Store an alarm and tell the contact. Part of the change under way, if there is one; the
        telling waits for nothing."""
        with self.study.change() as db:
            number = db.execute(
                "INSERT INTO alarms (participant, task, source, kinds, at, told)"
                " VALUES (?, ?, ?, ?, ?, '')",
                (participant, task, source, ", ".join(kinds), self.study.clock()),
            ).lastrowid
        name = self.study.rows("SELECT name FROM participants WHERE id = ?", participant)[0]["name"]
        where = {"person": "typed", "model": "written by a model", "words": "typed"}[source]
        self.tell(f"crisis language ({', '.join(kinds)}) {where}: participant {name}, see /admin")
        if self.settings.contact.command:
            told = {
                "study": self.settings.title,
                "participant": name,
                "task": task,
                "source": source,
                "kinds": list(kinds),
                "at": datetime.fromtimestamp(self.study.clock(), UTC).isoformat(timespec="seconds"),
            }
            threading.Thread(target=self._run, args=(number, told), daemon=False).start()

    def _run(self, number: int | None, told: dict[str, Any]) -> None:
        try:
            done = subprocess.run(  # noqa: S603 - the study's own command, no shell
                self.settings.contact.command,
                input=json.dumps(told),
                text=True,
                capture_output=True,
                timeout=TELL_SECONDS,
                check=False,
            )
            outcome = "told" if done.returncode == 0 else f"exit code {done.returncode}"
        except (OSError, subprocess.TimeoutExpired) as error:
            outcome = f"failed: {type(error).__name__}"
        if outcome != "told":
            self.tell(f"the contact's command did not work ({outcome}): tell them yourself")
        with self.study.change() as db:
            db.execute("UPDATE alarms SET told = ? WHERE number = ?", (outcome, number))
        self.study.release()
