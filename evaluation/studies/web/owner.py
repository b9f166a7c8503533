"""The owner's pages: progress, alarms, raters, links, results, export and deletion of one person."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response

from ..results import write_results
from ..reviews import open_review
from ..tables import tables_of
from .forms import number_of, read_form
from .pages import go_to
from .site import SESSION, Site, address_of

Form = Annotated[dict[str, str], Depends(read_form)]
MOST_LINKS = 200
DRAWS = 200
"""Of bootstraps on the owner's page, whose making takes time from everybody's pages."""


def owner_routes(site: Site) -> APIRouter:
    """The routes of a study's owner."""
    routes = APIRouter(prefix="/admin")

    @routes.get("")
    def admin(request: Request) -> Response:
        """Where the study stands."""
        return overview(site, request)

    @routes.post("/sign-in")
    def sign_in(request: Request, form: Form) -> Response:
        if not site.guesses.take(address_of(request)):
            raise HTTPException(429)
        session = site.sessions.begin(form.get("secret", ""))
        if session is None:
            raise HTTPException(401)
        answer = go_to("/admin")
        secure = request.url.scheme == "https"
        answer.set_cookie(
            SESSION, session, httponly=True, samesite="strict", secure=secure, path="/admin"
        )
        return answer

    @routes.post("/sign-out")
    def sign_out(request: Request, form: Form) -> Response:
        site.sessions.end(site.check_owner_form(request, form))
        answer = go_to("/")
        answer.delete_cookie(SESSION, path="/admin")
        return answer

    @routes.post("/invite")
    def invite(request: Request, form: Form) -> Response:
        """Make links; they are shown once, since only their hashes are stored."""
        site.check_owner_form(request, form)
        count = min(MOST_LINKS, max(1, number_of(form, "count", 1)))
        base = str(request.base_url).rstrip("/")
        rules = site.settings.kind == "review" and form.get("adjudicates") == "yes"
        links = [
            f"{base}{site.path(site.people.join(country=site.settings.country, adjudicates=rules))}"
            for _ in range(count)
        ]
        return overview(site, request, links=links)

    @routes.post("/results")
    def results(request: Request, form: Form) -> Response:
        """Write the files of results."""
        site.check_owner_form(request, form)
        return overview(site, request, written=write_results(site.study, site.settings))

    @routes.get("/export/{name}")
    def export(name: str, request: Request) -> Response:
        """All that is stored of one participant."""
        site.owner(request)
        found = site.people.everything(site.people.by_name(name))
        text = json.dumps(found, ensure_ascii=False, indent=2)
        headers = {"content-disposition": f'attachment; filename="{name}.json"'}
        return Response(text, media_type="application/json", headers=headers)

    @routes.post("/forget")
    def forget(request: Request, form: Form) -> Response:
        """Delete all that is stored of one participant, and write what was written anew."""
        site.check_owner_form(request, form)
        name = form.get("name", "")
        if form.get("sure") != name:
            return overview(site, request, told="Type the pseudonym again to delete all of it.")
        counts = site.people.forget(site.people.by_name(name))
        write_results(site.study, site.settings)
        rows = ", ".join(f"{count} {table}" for table, count in counts.items())
        return overview(site, request, told=f"{name} is deleted: {rows}. Results are written anew.")

    return routes


def progress_of(site: Site) -> dict[str, int]:
    """How far the study is: tasks by status, or a review's dialogues."""
    if site.settings.kind != "review":
        return site.tasks.progress()
    with open_review(site.settings) as store:
        found = store.progress()
    return {"dialogues": found.dialogues, **found.states, "edited": found.edited}


def overview(
    site: Site,
    request: Request,
    *,
    links: list[str] | None = None,
    written: Any = None,
    told: str = "",
) -> Response:
    """The owner's page."""
    session = site.owner(request)
    base = str(request.base_url).rstrip("/")
    rows = site.study.rows(
        "SELECT a.*, p.name FROM alarms a JOIN participants p ON p.id = a.participant"
        " ORDER BY a.number DESC LIMIT 200"
    )
    alarms = [
        {**dict(row), "when": f"{datetime.fromtimestamp(row['at'], UTC):%Y-%m-%d %H:%M:%S}"}
        for row in rows
    ]
    failing = site.study.rows(
        "SELECT error, COUNT(*) AS n FROM talks WHERE state = 'failed' GROUP BY error LIMIT 5"
    )
    return site.pages.html(
        "owner",
        csrf=site.csrf(session),
        progress=progress_of(site),
        raters=site.quality.report(site.people),
        alarms=alarms,
        failing=[dict(row) for row in failing],
        tables=tables_of(site.study, site.settings, draws=DRAWS),
        links=links or [],
        written=written,
        told=told,
        join=f"{base}/join/{site.study.value('join')}" if site.settings.open else "",
    )
