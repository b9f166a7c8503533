"""Reviewing a corpus on pages: approve, reject with a reason, edit with the change shown, skip."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, HTTPException, Request, Response

from ....core.errors import WarmlineError
from ....environments.corpus.review.review import REVIEWER_GUIDANCE, ReviewItem, Verdict
from ..participants import Participant, Stage
from ..reviews import (
    differences,
    edits_of,
    open_review,
    review_numbers,
    reviewed,
    ruled,
    tags_of_dialogue,
)
from .forms import number_of, read_form, text_of
from .pages import go_to
from .site import Site

Form = Annotated[dict[str, str], Depends(read_form)]
MAX_TEXT = 20_000


def review_page(
    site: Site,
    who: Participant,
    common: dict[str, Any],
    *,
    wanted: str = "",
    given: dict[str, str] | None = None,
) -> Response:
    """The next dialogue of a reviewer, or a named one.

    Args:
        given: what was typed on a page that was refused.
    """
    with open_review(site.settings) as store:
        disputes = {each.id: each for each in differences(store, who.name)}
        if who.adjudicates:
            wanted = wanted if wanted in disputes else next(iter(disputes), "")
        item: ReviewItem | None = None
        if wanted or not who.adjudicates:
            item = store.item(wanted) if wanted else store.next_item(who.name)
        progress, agreed = review_numbers(store)
        return site.pages.html(
            "review",
            item=item,
            edits=edits_of(store, item) if item else [],
            progress=progress,
            agreement=agreed,
            mine=(ruled if who.adjudicates else reviewed)(store, who.name),
            differing=len(disputes),
            dispute=disputes.get(item.id) if item and who.adjudicates else None,
            tags=tags_of_dialogue(site.settings, item.id) if item else [],
            warning=REVIEWER_GUIDANCE,
            urgent=bool(item and item.crisis),
            wanted=wanted,
            given=given or {},
            **common,
        )


def review_routes(site: Site) -> APIRouter:
    """The routes of reviewers."""
    routes = APIRouter()

    def reader(token: str, request: Request) -> Participant:
        who = site.who(token, request)
        if site.settings.kind != "review" or who.stage is not Stage.TASKS:
            raise HTTPException(409)
        return who

    def reviewer(token: str, request: Request) -> Participant:
        who = reader(token, request)
        if who.adjudicates:  # reads and rules, and is no reviewer
            raise HTTPException(409)
        return who

    def common_of(token: str, who: Participant, told: str = "") -> dict[str, Any]:
        return {
            "who": who,
            "path": site.path(token),
            "csrf": site.csrf(token),
            "leave": True,
            "told": told,
        }

    @routes.get("/p/{token}/dialogue")
    def one(token: str, request: Request, id: str = "") -> Response:  # noqa: A002 - in the URL
        who = reader(token, request)
        return review_page(site, who, common_of(token, who), wanted=id)

    @routes.get("/p/{token}/differences")
    def differing(token: str, request: Request) -> Response:
        """Dialogues about which the reviewers differ, with the reasons, to think again or to rule."""
        who = reader(token, request)
        with open_review(site.settings) as store:
            found = differences(store, who.name)
        return site.pages.html("differences", found=found, **common_of(token, who))

    @routes.post("/p/{token}/review")
    def decide(token: str, request: Request, form: Form) -> Response:
        who = reviewer(token, request)
        site.check_form(token, request, form)
        name, version = form.get("id", ""), number_of(form, "version")
        reason, verdict = text_of(form, "reason", site.settings.max_chars), form.get("verdict", "")
        try:
            with open_review(site.settings) as store:
                if verdict == "skip":
                    store.skip(name, who.name)
                elif verdict in (Verdict.APPROVE, Verdict.REJECT):
                    store.decide(name, who.name, Verdict(verdict), version=version, reason=reason)
        except WarmlineError as error:
            return _again(who, token, name, error, form)
        crisis = site.look_through(who, None, reason)
        return go_to(f"{site.path(token)}/help" if crisis else site.path(token))

    @routes.post("/p/{token}/rule")
    def rule(token: str, request: Request, form: Form) -> Response:
        """An adjudicator's word about what the reviewers differ about."""
        who = reader(token, request)
        site.check_form(token, request, form)
        verdict = form.get("verdict", "")
        if not who.adjudicates or verdict not in (Verdict.APPROVE, Verdict.REJECT):
            raise HTTPException(409)
        name, reason = form.get("id", ""), text_of(form, "reason", site.settings.max_chars)
        try:
            with open_review(site.settings) as store:
                store.rule(
                    name, who.name, Verdict(verdict),
                    version=number_of(form, "version"), reason=reason,
                )  # fmt: skip
        except WarmlineError as error:
            return _again(who, token, name, error, form)
        crisis = site.look_through(who, None, reason)
        return go_to(f"{site.path(token)}/help" if crisis else site.path(token))

    @routes.post("/p/{token}/edit")
    def edit(token: str, request: Request, form: Form) -> Response:
        who = reviewer(token, request)
        site.check_form(token, request, form)
        name, version = form.get("id", ""), number_of(form, "version")
        text = text_of(form, "text", MAX_TEXT)
        reason = text_of(form, "reason", site.settings.max_chars)
        try:
            with open_review(site.settings) as store:
                store.edit(
                    name,
                    who.name,
                    number_of(form, "utterance"),
                    text,
                    version=version,
                    reason=reason,
                )
        except WarmlineError as error:
            return _again(who, token, name, error, form)
        return go_to(f"{site.path(token)}/dialogue?id={quoted(name)}")

    @routes.post("/p/{token}/done")
    def done(token: str, request: Request, form: Form) -> Response:
        """The reviewer has nothing left, or stops here; what was judged counts."""
        who = reader(token, request)
        site.check_form(token, request, form)
        site.people.move(who, Stage.SURVEY if site.settings.survey else Stage.FINISHED)
        return go_to(site.path(token))

    def _again(
        who: Participant, token: str, name: str, error: WarmlineError, form: dict[str, str]
    ) -> Response:
        told = f"{error.message}. {error.hint or ''}".strip()
        with open_review(site.settings) as store:
            known = name in store.originals()
        wanted = name if known else ""
        return review_page(site, who, common_of(token, who, told), wanted=wanted, given=form)

    return routes


def quoted(name: str) -> str:
    """A dialogue's id in a URL."""
    return quote(name, safe="")
