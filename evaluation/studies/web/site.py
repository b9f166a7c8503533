"""What the pages of one study work with, and who may do what on them."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

from fastapi import HTTPException, Request

from ....core.errors import WarmlineError
from ....environments.dialogue.environment import SupportEnvironment
from ....policies.safety import crisis_kinds
from ..alarms import Alarms
from ..database import StudyDatabase
from ..exchange import environments_of
from ..items import dimensions_of, items_of
from ..participants import Participant, Participants
from ..quality import Quality
from ..reviews import begin_review
from ..settings import StudySettings, study_identity
from ..talks import Talks
from ..tasks import Tasks
from .pages import CSRF, Pages
from .runner import Runner
from .security import Rate, Sessions, Signer, same_origin

SESSION = "warmline_owner"


class Site:
    """One study, open.

    Args:
        settings: of the study.
        secret: the owner's.
        tell: prints one line for whoever runs the study.
        environments: models by name, in place of those that the settings name.
        clock: the time, in place of the system's.

    Raises:
        ConfigError, DataError, RunError: the study cannot be served.
    """

    def __init__(
        self,
        settings: StudySettings,
        secret: str,
        *,
        tell: Callable[[str], None],
        environments: dict[str, SupportEnvironment] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.settings = settings
        self.dimensions = dimensions_of(settings)
        items = [] if settings.kind == "review" else items_of(settings)
        if environments is None:
            environments = environments_of(settings) if settings.live else {}
        more: dict[str, Any] = {} if clock is None else {"clock": clock}
        if settings.kind == "review":
            begin_review(settings)
        self.study = StudyDatabase(settings.folder, identity=study_identity(settings), **more)
        self.people = Participants(self.study)
        self.tasks = Tasks(self.study, settings)
        self.tasks.enrol(items)
        self.alarms = Alarms(self.study, settings, tell)
        self.talks = Talks(self.study, settings, self.tasks, self.alarms)
        self.quality = Quality(self.study, settings, self.tasks)
        self.runner = Runner(self.talks, environments)
        self.pages = Pages(settings)
        self.signer = Signer(self.study.key())
        self.sessions = Sessions(secret)
        self.joins = Rate(settings.rates.joins)
        self.posts = Rate(settings.rates.posts)
        self.guesses = Rate(settings.rates.guesses)
        self.streams: dict[int, object] = {}
        self.unopened: WarmlineError | None = None
        """Why a policy could not be opened."""
        self.ending: Callable[[], bool] = lambda: False

    # Participants

    def who(self, token: str, request: Request) -> Participant:
        """Whose link it is.

        Raises:
            HTTPException: 404 for a guess, 429 for too many.
        """
        found = self.people.by_token(token) if len(token) < 100 else None
        if found is None:
            if not self.guesses.take(address_of(request)):
                raise HTTPException(429)
            raise HTTPException(404)
        return found

    def path(self, token: str) -> str:
        """Where a participant's pages are."""
        return f"/p/{token}"

    def csrf(self, token: str) -> str:
        """What a participant's forms are signed with."""
        return self.signer.sign(f"form\0{token}")[:40]

    def check_signature(self, token: str, form: dict[str, str]) -> None:
        """Refuse a form that was not signed for this link or session.

        Raises:
            HTTPException: 403.
        """
        if not hmac.compare_digest(form.get(CSRF, "").encode(), self.csrf(token).encode()):
            raise HTTPException(403)

    def check_form(self, token: str, request: Request, form: dict[str, str]) -> None:
        """Refuse a form that is not ours, or comes too often.

        Raises:
            HTTPException: 403 or 429.
        """
        self.check_signature(token, form)
        if not same_origin(request.headers):
            raise HTTPException(403)
        if not self.posts.take(token):
            raise HTTPException(429)

    def look_through(self, who: Participant, task: str | None, *texts: str) -> bool:
        """Mark crisis language in words typed elsewhere than to a supporter; whether there was any."""
        kinds = tuple(dict.fromkeys(kind for text in texts for kind in crisis_kinds(text)))
        if kinds:
            self.alarms.mark(who.id, task, "words", kinds)
        return bool(kinds)

    # The owner

    def owner(self, request: Request) -> str:
        """The owner's session.

        Raises:
            HTTPException: 401 without one.
        """
        session = request.cookies.get(SESSION, "")
        if not self.sessions.holds(session):
            raise HTTPException(401)
        return session

    def check_owner_form(self, request: Request, form: dict[str, str]) -> str:
        """The owner's session, of a form that is ours.

        Raises:
            HTTPException: 401 or 403.
        """
        session = self.owner(request)
        self.check_signature(session, form)
        if not same_origin(request.headers):
            raise HTTPException(403)
        return session


def address_of(request: Request) -> str:
    """Where a request comes from; kept in memory alone."""
    return request.client.host if request.client else "unknown"
