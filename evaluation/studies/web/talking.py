"""Talking with a supporter on a page, alone or with two replies to choose from."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response

from ....environments.episodes.episode import StopReason
from ..participants import Participant, Stage
from ..talks import State
from ..tasks import Task
from .forms import number_of, read_form
from .pages import go_to
from .rating import choices_of, rating_page
from .site import Site

Form = Annotated[dict[str, str], Depends(read_form)]
NOTHING_NEW = 204


def talk_page(
    site: Site, who: Participant, task: Task, common: dict[str, Any], *, typed: str = ""
) -> Response:
    """The talk of a task; after its end, what is asked about it.

    Args:
        typed: what was typed and not taken, so that it is not lost.
    """
    models: list[str] = task.item.payload["models"]
    site.talks.begin(task, site.runner.environments[models[0]])
    talk = site.talks.of(task.id)
    if talk.state is State.ASKED:
        site.runner.ensure(task.id)
    if talk.state is State.OVER:
        return rating_page(site, who, task, common, talk=talk)
    left = site.settings.exchanges_needed - talk.exchanges
    full = talk.exchanges >= site.settings.max_exchanges and talk.state is State.OPEN
    return site.pages.html(
        "talk",
        task=task,
        talk=talk,
        state=talk.state.value,
        scenario=task.item.payload.get("scenario"),
        dimensions=site.dimensions,
        left=max(0, left),
        full=full,
        typed=typed,
        waiting=talk.state is State.ASKED,
        urgent=talk.noticed and talk.state not in (State.HELD, State.NOTICE),
        **common,
    )


def talk_routes(site: Site) -> APIRouter:
    """The routes of talks."""
    routes = APIRouter()
    talks = site.talks

    def task_of(token: str, request: Request, form: dict[str, str]) -> tuple[Participant, Task]:
        who = site.who(token, request)
        site.check_form(token, request, form)
        task = site.tasks.current(who) if who.stage is Stage.TASKS else None
        if task is None or form.get("task") != task.id or not site.settings.live:
            raise HTTPException(409)
        return who, task

    @routes.get("/p/{token}/talk")
    def poll(token: str, request: Request) -> Response:
        """Whether there is something new; the page then looks at itself anew."""
        version = number_of(request.query_params, "version")
        who = site.who(token, request)
        task = site.tasks.current(who) if who.stage is Stage.TASKS else None
        if task is not None and site.settings.live:
            talk = talks.find(task.id)
            if talk is not None and talk.state is State.ASKED and talk.version == version:
                site.runner.ensure(task.id)
                return Response(status_code=NOTHING_NEW)
        return Response(status_code=200, headers={"HX-Refresh": "true"})

    @routes.post("/p/{token}/say")
    def say(token: str, request: Request, form: Form) -> Response:
        who, task = task_of(token, request, form)
        text = form.get("text", "").strip()
        if len(text) > site.settings.max_chars:
            told = (
                f"That is {len(text):,} characters; at most {site.settings.max_chars:,} fit into one"
                " message. Nothing was sent: shorten it, or send it in parts."
            )
            return talk_page(site, who, task, _common(site, token, who, told), typed=text)
        shown = any(each.isprintable() and not each.isspace() for each in text)
        if shown and talks.of(task.id).exchanges < site.settings.max_exchanges:
            talks.say(task, text, number_of(form, "version"))
            site.runner.ensure(task.id)
        return go_to(site.path(token))

    @routes.post("/p/{token}/send")
    def send(token: str, request: Request, form: Form) -> Response:
        _, task = task_of(token, request, form)
        talks.send(task, number_of(form, "version"))
        site.runner.ensure(task.id)
        return go_to(site.path(token))

    @routes.post("/p/{token}/back")
    def take_back(token: str, request: Request, form: Form) -> Response:
        _, task = task_of(token, request, form)
        talks.take_back(task, number_of(form, "version"))
        return go_to(site.path(token))

    @routes.post("/p/{token}/seen")
    def seen(token: str, request: Request, form: Form) -> Response:
        _, task = task_of(token, request, form)
        talks.seen(task, number_of(form, "version"))
        return go_to(site.path(token))

    @routes.post("/p/{token}/choose")
    def choose(token: str, request: Request, form: Form) -> Response:
        who, task = task_of(token, request, form)
        talk = talks.of(task.id)
        values = choices_of(site, form, [each.side for each in talk.candidates])
        if len(values) < len(site.dimensions):
            told = "Please choose for every question."
            return talk_page(site, who, task, _common(site, token, who, told))
        talks.choose(task, number_of(form, "version"), values)
        return go_to(site.path(token))

    @routes.post("/p/{token}/end")
    def end(token: str, request: Request, form: Form) -> Response:
        """End the talk, once it is long enough; then it is rated, or the task is done."""
        who, task = task_of(token, request, form)
        talk = talks.of(task.id)
        if talk.exchanges < site.settings.exchanges_needed:
            told = "The conversation is not yet long enough; you may leave the study at any time."
            return talk_page(site, who, task, _common(site, token, who, told))
        full = talk.exchanges >= site.settings.max_exchanges
        with site.study.change():
            talks.close(task, (StopReason.TURN_LIMIT if full else StopReason.LEFT).value)
            if site.settings.kind != "pointwise":
                site.tasks.finish(task, [])
                site.quality.follow(who, site.quality.check(who, task, {}, None), site.people)
        return go_to(site.path(token))

    return routes


def _common(site: Site, token: str, who: Participant, told: str) -> dict[str, Any]:
    return {
        "who": who,
        "path": site.path(token),
        "csrf": site.csrf(token),
        "leave": True,
        "told": told,
    }
