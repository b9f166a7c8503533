"""The application: a list of one model, and chat completions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException

from ...core.errors import (
    BadRequest,
    ConfigError,
    ContextTooLong,
    EngineTimeout,
    EngineUnavailable,
    PolicyError,
    RateLimited,
    Unsupported,
    WarmlineError,
)
from ...policies.asking import ask_policy
from ...policies.base import Policy, close_policy, open_policy
from ...policies.openai.headers import SESSION_HEADER
from ...policies.safety import CRISIS_GUIDANCE, DISCLAIMER, crisis_kinds
from .bodies import ChatBody, completion, events, read_body
from .guards import Endings, Refused, admit, error_response, need_json
from .seat import SupporterSeat

MAX_BODY = 4_000_000
"""Bytes of a request; longer ones are refused."""
STATUS: tuple[tuple[type[WarmlineError], int, str], ...] = (
    (ContextTooLong, 400, "context_length_exceeded"),
    (Unsupported, 400, "unsupported_parameter"),
    (BadRequest, 400, "invalid_request"),
    (ConfigError, 400, "invalid_request"),
    (RateLimited, 429, "rate_limit_exceeded"),
    (EngineTimeout, 504, "timeout"),
    (EngineUnavailable, 503, "unavailable"),
    (PolicyError, 502, "policy_failed"),
)
"""What each deliberate error is in HTTP; the first that fits."""
ROUTES = "GET /health, GET /v1/models, POST /v1/chat/completions"


def unopened(app: FastAPI) -> WarmlineError | None:
    """Why an application's policy could not be opened."""
    return getattr(app.state, "unopened", None)


def make_app(
    policy: Policy | SupporterSeat,
    *,
    name: str,
    token: str | None = None,
    hosts: tuple[str, ...] = (),
) -> FastAPI:
    """The application of one policy, opened when it starts and closed when it ends.

    Args:
        policy: what answers; a `SupporterSeat` puts the supporter's prompt around it.
        name: of the model, as `GET /v1/models` lists it and requests must name it.
        token: what requests must bear; None lets everybody ask.
        hosts: names under which the server may be asked; empty: any.
    """
    inner: Policy = policy.policy if isinstance(policy, SupporterSeat) else policy
    began = int(time.time())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        try:
            await open_policy(inner)
        except WarmlineError as error:
            app.state.unopened = error
            raise
        try:
            with suppress(
                asyncio.CancelledError
            ):  # a second Ctrl-C; the policy is closed all the same
                yield
        finally:
            await close_policy(inner)

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(Endings)

    @app.get("/health")
    async def health() -> Response:
        return JSONResponse({"status": "ok", "notice": DISCLAIMER})

    @app.get("/v1/models")
    async def models(request: Request) -> Response:
        admit(request, token, hosts)
        entry = {"id": name, "object": "model", "created": began, "owned_by": "warmline"}
        return JSONResponse({"object": "list", "data": [entry]})

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        admit(request, token, hosts)
        need_json(request)
        body = read_body(await _bytes_of(request))
        if body.model != name:
            raise Refused(404, "model_not_found", f"no model '{body.model}' here; known: {name}")
        asked = body.request(request.headers.get(SESSION_HEADER, ""))
        reply = await ask_policy(policy, asked)
        crisis = _crisis(body, reply.text)
        if not body.stream:
            return JSONResponse(completion(name, reply, crisis))
        with_usage = body.stream_options is not None and body.stream_options.include_usage
        lines = events(name, reply, crisis, with_usage=with_usage)
        return StreamingResponse(_each(lines), media_type="text/event-stream")

    @app.exception_handler(Refused)
    def refused(_: Request, error: Refused) -> Response:
        return error_response(error.status, error.code, error.message)

    @app.exception_handler(WarmlineError)
    def deliberate(_: Request, error: WarmlineError) -> Response:
        for kind, status, code in STATUS:
            if isinstance(error, kind):
                return error_response(status, code, str(error), getattr(error, "field", None))
        raise error

    @app.exception_handler(HTTPException)
    def unknown(request: Request, error: HTTPException) -> Response:
        code = "method_not_allowed" if error.status_code == 405 else "not_found"
        said = f"no {request.method} {request.url.path} here; known: {ROUTES}"
        return error_response(error.status_code, code, said)

    @app.exception_handler(Exception)
    def bug(_: Request, error: Exception) -> Response:
        return error_response(500, "internal_error", "the policy failed; the server's log says why")

    return app


async def _bytes_of(request: Request) -> bytes:
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > MAX_BODY:
            raise Refused(413, "too_large", f"a request holds at most {MAX_BODY:,} bytes")
    return bytes(data)


async def _each(lines: Iterator[str]) -> AsyncIterator[str]:
    """The lines, one at a time and without a thread for each."""
    for line in lines:
        yield line


def _crisis(body: ChatBody, reply: str) -> Mapping[str, Any] | None:
    """Crisis language in what was said last and in the answer, with the guidance to be shown."""
    said, answered = crisis_kinds(body.messages[-1].message().content), crisis_kinds(reply)
    if not (said or answered):
        return None
    return {"crisis": {"said": said, "answered": answered}, "guidance": CRISIS_GUIDANCE}
