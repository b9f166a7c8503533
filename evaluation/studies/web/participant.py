"""A participant's way: joining, consent, instructions, practice, tasks, survey, the end."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response

from ..participants import IdTaken, Participant, Stage
from ..settings import StudySettings, refuse_country
from .forms import number_of, read_form, text_of
from .pages import go_to
from .rating import rating_page
from .reviewing import review_page
from .site import Site, address_of
from .talking import talk_page

Form = Annotated[dict[str, str], Depends(read_form)]
MAX_EXTERNAL = 200


def participant_routes(site: Site) -> APIRouter:
    """The routes of one study's participants."""
    routes = APIRouter()
    people, quality = site.people, site.quality

    @routes.get("/join/{key}")
    def join(key: str, request: Request) -> Response:
        """Make a participant and send them to a link of their own."""
        if not site.settings.open or key != site.study.value("join"):
            if not site.guesses.take(address_of(request)):
                raise HTTPException(429)
            raise HTTPException(404)
        if not site.joins.take(address_of(request)):
            raise HTTPException(429)
        external, session = _external(site.settings, request)
        try:
            token = people.join(external, session, country=site.settings.country)
        except IdTaken:
            return site.pages.html("taken", status=409)
        return go_to(site.path(token))

    @routes.get("/p/{token}")
    def page(token: str, request: Request) -> Response:
        """The page of the stage that a participant is at."""
        who = site.who(token, request)
        return stage_page(site, token, who)

    @routes.post("/p/{token}/consent")
    def consent(token: str, request: Request, form: Form) -> Response:
        who = _checked(site, token, request, form)
        country = form.get("country", "")
        refuse_country(country)
        agreed = form.get("agree") == "yes" and form.get("adult") == "yes"
        if form.get("agree") == "yes" and not agreed:
            return stage_page(site, token, who, told="Please tick the box that you are of age.")
        share = bool(site.settings.consent.share) and form.get("share") == "yes"
        people.consent(who, agreed=agreed, share=share, country=country)
        return go_to(site.path(token))

    @routes.post("/p/{token}/instructions")
    def instructions(token: str, request: Request, form: Form) -> Response:
        who = _checked(site, token, request, form)
        if who.stage is Stage.INSTRUCTIONS:
            people.move(who, Stage.PRACTICE if site.settings.practice else Stage.TASKS)
        return go_to(site.path(token))

    @routes.post("/p/{token}/practice")
    def practice(token: str, request: Request, form: Form) -> Response:
        who = _checked(site, token, request, form)
        number = number_of(form, "number")
        if who.stage is not Stage.PRACTICE or number != quality.practice_done(who):
            return go_to(site.path(token))
        question = site.settings.practice[number]
        right = number_of(form, "answer") == question.answer
        quality.practised(who, number, right)
        if not right:
            told = question.feedback or "That is not the answer we look for."
            return stage_page(site, token, who, told=told)
        if number + 1 == len(site.settings.practice):
            people.move(who, Stage.TASKS)
        return go_to(site.path(token))

    @routes.post("/p/{token}/warned")
    def warned(token: str, request: Request, form: Form) -> Response:
        people.warn(_checked(site, token, request, form))
        return go_to(site.path(token))

    @routes.post("/p/{token}/survey")
    def survey(token: str, request: Request, form: Form) -> Response:
        who = _checked(site, token, request, form)
        if who.stage is Stage.SURVEY:
            answers = {
                question.question: text_of(form, f"q{number}", site.settings.max_chars)
                for number, question in enumerate(site.settings.survey)
            }
            people.answer_survey(who, answers)
            people.move(who, Stage.FINISHED)
            if site.look_through(who, None, *answers.values()):
                return go_to(f"{site.path(token)}/help")
        return go_to(site.path(token))

    @routes.post("/p/{token}/country")
    def country(token: str, request: Request, form: Form) -> Response:
        who = _checked(site, token, request, form)
        refuse_country(form.get("country", ""))
        people.choose_country(who, form.get("country", ""))
        return go_to(f"{site.path(token)}/help")

    @routes.get("/p/{token}/help")
    def help_page(token: str, request: Request) -> Response:
        who = site.who(token, request)
        return site.pages.html(
            "help", who=who, path=site.path(token), csrf=site.csrf(token), leave=not who.stage.over
        )

    @routes.post("/p/{token}/leave")
    def leave(token: str, request: Request, form: Form) -> Response:
        """Leave at once, from anywhere. Never refused for its rate."""
        who = site.who(token, request)
        site.check_signature(token, form)
        if not who.stage.over:
            people.move(who, Stage.LEFT)
        return go_to(site.path(token))

    return routes


def stage_page(site: Site, token: str, who: Participant, *, told: str = "") -> Response:
    """The page of a participant's stage.

    Args:
        told: what was wrong with the form before.
    """
    common: dict[str, Any] = {
        "who": who,
        "path": site.path(token),
        "csrf": site.csrf(token),
        "leave": not who.stage.over and who.stage is not Stage.CONSENT,
        "told": told,
    }
    html = site.pages.html
    if who.stage is Stage.CONSENT:
        return html("consent", urgent=site.settings.live, **common)
    if who.stage is Stage.INSTRUCTIONS:
        return html("instructions", dimensions=site.dimensions, **common)
    if who.stage is Stage.PRACTICE:
        number = site.quality.practice_done(who)
        if number >= len(site.settings.practice):  # stopped right after the last answer
            site.people.move(who, Stage.TASKS)
            return go_to(site.path(token))
        question = site.settings.practice[number]
        return html("practice", number=number, question=question, **common)
    if who.stage is Stage.TASKS:
        return _task_page(site, token, who, common)
    if who.stage is Stage.SURVEY:
        return html("survey", **common)
    return html("end", **common)


def _task_page(site: Site, token: str, who: Participant, common: dict[str, Any]) -> Response:
    if site.quality.outcome(who) == "warn":
        return site.pages.html("warning", **common)
    if site.settings.kind == "review":
        return review_page(site, who, common)
    task = site.tasks.hand_out(who)
    if task is None and not site.tasks.done(who):
        return site.pages.html("nothing", **common)
    if task is None:
        site.people.move(who, Stage.SURVEY if site.settings.survey else Stage.FINISHED)
        return go_to(site.path(token))
    if site.settings.live:
        return talk_page(site, who, task, common)
    return rating_page(site, who, task, common)


def _checked(site: Site, token: str, request: Request, form: dict[str, str]) -> Participant:
    who = site.who(token, request)
    site.check_form(token, request, form)
    return who


def _external(settings: StudySettings, request: Request) -> tuple[str, str]:
    """Who comes from a recruiting site, by the site's own id, and the rest of what it says."""
    if settings.prolific is None:
        return "", ""
    given = [request.query_params.get(n, "")[:MAX_EXTERNAL] for n in settings.prolific.parameters]
    return given[0], "\0".join(given[1:]).strip("\0")
