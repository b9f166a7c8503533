"""A reply as it is written, as server-sent events: for `study.js`; without it the page waits."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from ..participants import Stage
from ..talks import State
from .forms import number_of
from .site import Site

STREAM_SECONDS = 300.0
"""How long one stream lasts; the browser comes again by itself."""
WAIT_SECONDS = 1.0
"""How long a stream says nothing."""
PAUSE_SECONDS = 0.2
"""From one look to the next while no reply is being written aloud."""
AGAIN = "retry: 2000\n\n"
STILL = ": still writing\n\n"
DONE = "event: done\ndata: {}\n\n"
HEADERS = {"x-accel-buffering": "no"}


def stream_routes(site: Site) -> APIRouter:
    """The route of replies under way."""
    routes = APIRouter()

    @routes.get("/p/{token}/stream")
    async def stream(token: str, request: Request) -> StreamingResponse:
        """What may be shown of the reply so far, each time all of it; the whole reply; `done`."""
        who = await asyncio.to_thread(site.who, token, request)
        events = _events(site, token, who.id, number_of(request.query_params, "version"))
        return StreamingResponse(events, media_type="text/event-stream", headers=HEADERS)

    return routes


async def _events(site: Site, token: str, who: int, version: int) -> AsyncIterator[str]:
    mine = object()
    site.streams[who] = mine  # a further window takes the stream over
    yield AGAIN
    seen, end = "", time.monotonic() + STREAM_SECONDS

    def lasts() -> bool:
        return site.streams.get(who) is mine and time.monotonic() < end and not site.ending()

    try:
        while lasts():
            task, whole = await asyncio.to_thread(_standing, site, token, version)
            if task is None:
                yield (_text(whole) if whole else "") + DONE
                return
            aloud = site.runner.aloud(task)
            if aloud is None or aloud.over:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            while lasts() and not aloud.over:  # the file is not asked meanwhile
                text = await aloud.after(seen, WAIT_SECONDS)
                yield _text(text) if text != seen else STILL
                seen = text
    finally:
        if site.streams.get(who) is mine:
            del site.streams[who]


def _text(text: str) -> str:
    return f"event: text\ndata: {json.dumps(text)}\n\n"


def _standing(site: Site, token: str, version: int) -> tuple[str | None, str]:
    """The participant's task, if its talk waits for a model at that version; else the reply that came.

    The reply is empty where none is to appear word by word: it stands behind the help lines, is their
    guidance, or there is none.
    """
    who = site.people.by_token(token)
    task = site.tasks.current(who) if who is not None and who.stage is Stage.TASKS else None
    talk = site.talks.find(task.id) if task is not None and site.settings.live else None
    if task is None or talk is None:
        return None, ""
    if talk.state is State.ASKED and talk.version == version:
        site.runner.ensure(task.id)
        return task.id, ""
    came = talk.state is State.OPEN and talk.version == version + 1 and talk.episode.utterances
    last = talk.episode.utterances[-1] if came else None
    return None, last.text if last is not None and not last.crisis else ""
