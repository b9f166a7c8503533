"""The application: routes, guards, and what is said when something is wrong."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from ....core.errors import WarmlineError
from ....policies.safety import find_crisis
from .owner import owner_routes
from .participant import participant_routes
from .rating import rating_routes
from .reviewing import review_routes
from .security import App, Guard
from .site import Site
from .streaming import stream_routes
from .talking import talk_routes

LOGGER = logging.getLogger("warmline.studies")
STATIC = {
    "study.css": "text/css; charset=utf-8",
    "study.js": "text/javascript; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
}
WARMING = "I am not well, I cannot sleep and there is nothing to live for, nobody would miss me."
WORDS = {
    400: (
        "That could not be read",
        "Nothing was stored. Open the page again and repeat what you did.",
    ),
    401: ("Please sign in", "This page is for the study's owner."),
    403: (
        "That form was not ours",
        "Open the page again and repeat what you did. Nothing was stored.",
    ),
    404: (
        "There is nothing here",
        "Check that the link is whole. If it is, tell the study's contact.",
    ),
    405: ("There is nothing here", "Open the page again and use its buttons. Nothing was stored."),
    409: (
        "That page is no longer current",
        "The task was finished, given up, or lay still too long and went to somebody else.",
    ),
    413: ("That was too long", "Nothing was stored. Go back and shorten it."),
    429: ("Too fast", "Please wait a minute and go on. Nothing you stored is lost."),
    500: ("Something went wrong", "It is not your fault. What you sent before is kept; try again."),
}


def make_app(site: Site, hosts: tuple[str, ...] = ()) -> App:
    """The application of an open study.

    Args:
        hosts: names under which it may be asked; empty: any.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(
            find_crisis, WARMING
        )  # the rules are read now, not for the first who writes
        try:
            await site.runner.open()
        except WarmlineError as error:
            site.unopened = error
            raise
        try:
            yield
        finally:
            await site.runner.aclose()
            site.study.close()

    app = FastAPI(
        title="Warmline study", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None
    )
    app.include_router(participant_routes(site))
    app.include_router(talk_routes(site))
    app.include_router(stream_routes(site))
    app.include_router(rating_routes(site))
    app.include_router(review_routes(site))
    app.include_router(owner_routes(site))

    @app.get("/")
    def front() -> Response:
        return site.pages.html("front")

    @app.get("/favicon.ico")
    def icon() -> Response:
        return Response(status_code=204)

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in STATIC:
            raise HTTPException(404)
        content = files(__package__).joinpath("static", name).read_bytes()
        headers = {"cache-control": "max-age=3600"}
        return Response(content, media_type=STATIC[name], headers=headers)

    @app.exception_handler(HTTPException)
    def refused(request: Request, error: HTTPException) -> Response:
        return told(request, error.status_code)

    @app.exception_handler(WarmlineError)
    def deliberate(request: Request, error: WarmlineError) -> Response:
        return told(request, 409, error.message)

    @app.exception_handler(Exception)
    def bug(request: Request, error: Exception) -> Response:
        LOGGER.error("a page failed", exc_info=error)
        return told(request, 500)

    def told(request: Request, status: int, why: str = "") -> Response:
        title, words = WORDS.get(status, WORDS[500] if status >= 500 else WORDS[404])
        token = request.path_params.get("token", "")
        who = site.people.by_token(token) if isinstance(token, str) and token else None
        return site.pages.html(
            "told",
            status=status,
            title=title,
            words=why or words,
            sign_in=status == 401,
            back=site.path(token) if who else "",
        )

    return Guard(app, hosts)
