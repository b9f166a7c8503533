"""Ratings: dimensions with anchors after a talk or of a given dialogue, and choices between two texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response

from ..assignment import shown_first
from ..items import rubric_of
from ..participants import Participant, Stage
from ..talks import Talk
from ..tasks import Answer, Task
from .forms import number_of, read_form, text_of
from .pages import go_to
from .site import Site

Form = Annotated[dict[str, str], Depends(read_form)]
MAX_REASON = 2_000
CHOICES = ("first", "tie", "second")


def rating_page(
    site: Site,
    who: Participant,
    task: Task,
    common: dict[str, Any],
    *,
    talk: Talk | None = None,
    given: dict[str, str] | None = None,
) -> Response:
    """What is asked about a talk, a given dialogue or two texts.

    Args:
        talk: the participant's own.
        given: what was chosen on a page that was not complete.
    """
    rubric = rubric_of(site.settings)
    pair = site.settings.kind == "pairs"
    values: dict[str, Any] = {
        "task": task,
        "talk": talk,
        "dimensions": site.dimensions,
        "scale": rubric.scale if rubric else (1, 5),
        "attention": site.quality.attention(task),
        "given": given or {},
        "payload": task.item.payload,
        "urgent": bool(talk and talk.crisis) or bool(task.item.payload.get("crisis")),
        "number": site.tasks.done(who) + 1,
    }
    if pair:
        texts = task.item.payload["texts"]
        first = shown_first(site.settings.seed, task.id, 0)
        values["texts"] = texts if first == "A" else texts[::-1]
    return site.pages.html("pair" if pair else "rate", **values, **common)


def rating_routes(site: Site) -> APIRouter:
    """The routes of ratings."""
    routes = APIRouter()

    @routes.post("/p/{token}/rate")
    def rate(token: str, request: Request, form: Form) -> Response:
        """Take the answers to a task, all of them or none."""
        who = site.who(token, request)
        site.check_form(token, request, form)
        task = site.tasks.current(who) if who.stage is Stage.TASKS else None
        if task is None or form.get("task") != task.id:
            raise HTTPException(409)
        talk = None
        if site.settings.live:
            talk = site.talks.of(task.id)
            if talk.state != "over" or site.settings.kind != "pointwise":
                return go_to(site.path(token))
        reason = text_of(form, "reason", MAX_REASON)
        answers = _answers(site, task, form, reason)
        attention = number_of(form, "attention") if site.quality.attention(task) else None
        if len(answers) < len(site.dimensions) or attention == -1:
            common = {
                "who": who,
                "path": site.path(token),
                "csrf": site.csrf(token),
                "leave": True,
                "told": "Please answer every question; what you chose is kept below.",
            }
            return rating_page(site, who, task, common, talk=talk, given=form)
        crisis = False
        with site.study.change():
            if site.tasks.finish(task, answers):
                crisis = site.look_through(who, task.id, reason)
                values = {each.dimension: each.value for each in answers}
                outcome = site.quality.check(who, task, values, attention)
                site.quality.follow(who, outcome, site.people)
        return go_to(f"{site.path(token)}/help" if crisis else site.path(token))

    return routes


def _answers(site: Site, task: Task, form: dict[str, str], reason: str) -> list[Answer]:
    """The answers that can be read, one a dimension."""
    if site.settings.kind == "pairs":
        first = shown_first(site.settings.seed, task.id, 0)
        sides = ["A", "B"] if first == "A" else ["B", "A"]
        return [
            Answer(name, value, first=first, explanation=reason)
            for name, value in choices_of(site, form, sides).items()
        ]
    rubric = rubric_of(site.settings)
    low, high = rubric.scale if rubric else (1, 5)
    ticked = [tag for n, tag in enumerate(site.settings.tags) if form.get(f"t_{n}") == "yes"]
    notes = {"tags": ticked} if ticked else {}
    found = []
    for each in site.dimensions:
        value = number_of(form, f"d_{each.name}")
        if low <= value <= high:
            found.append(Answer(each.name, float(value), explanation=reason, notes=notes))
    return found


def choices_of(site: Site, form: dict[str, str], sides: Sequence[str]) -> dict[str, float]:
    """The choices between two texts by dimension: 1 for A, -1 for B, 0 for a tie.

    Args:
        sides: of the texts, in the order of showing.
    """
    found: dict[str, float] = {}
    for each in site.dimensions:
        choice = form.get(f"d_{each.name}", "")
        if choice == "tie":
            found[each.name] = 0.0
        elif choice in CHOICES and len(sides) == 2:
            side = sides[0] if choice == "first" else sides[1]
            found[each.name] = 1.0 if side == "A" else -1.0
    return found
