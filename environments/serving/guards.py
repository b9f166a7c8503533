"""Who may ask: names of the server, no web page, the token; and what an end leaves unanswered."""

from __future__ import annotations

import asyncio
import hmac

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...core.outside.hosts import host_name, is_own_origin


class Refused(Exception):
    """A request that is answered with an error of HTTP."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def admit(request: Request, token: str | None, hosts: tuple[str, ...]) -> None:
    """Let a program in, and no web page.

    Args:
        token: what requests must bear; None lets every program ask.
        hosts: names under which the server may be asked; empty: any that can be read.

    Raises:
        Refused: says why.
    """
    name = host_name(request.headers.get("host", ""))
    if name is None or (hosts and name not in hosts):
        known = f"as {', '.join(hosts)} only" if hosts else "to a name of a host only"
        raise Refused(421, "wrong_host", f"this server answers {known}")
    if _of_a_page(request):
        raise Refused(403, "foreign_origin", "web pages may not ask this server; ask by a program")
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    bears = scheme.lower() == "bearer"
    if token is not None and not (bears and hmac.compare_digest(given.encode(), token.encode())):
        raise Refused(
            401,
            "invalid_api_key",
            "send the server's token as the API key, in the header Authorization: Bearer TOKEN",
        )


def need_json(request: Request) -> None:
    """Refuse a body of another type: those are what a web page can send without being asked first.

    Raises:
        Refused: names the type.
    """
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise Refused(415, "unsupported_media_type", "send Content-Type: application/json")


def error_response(status: int, code: str, message: str, field: str | None = None) -> Response:
    """An error in OpenAI's form."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    error = {"message": message, "type": kind, "param": field, "code": code}
    return JSONResponse({"error": error}, status_code=status)


class Endings:
    """Around the application: who waits when the server ends is told so."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; the server cancels it when it ends and will wait no longer."""
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except asyncio.CancelledError:
            if scope["type"] != "http":
                raise
            if not begun:
                answer = error_response(503, "unavailable", "the server ends; ask it when it runs")
                await answer(scope, receive, send)


def _of_a_page(request: Request) -> bool:
    """Whether a browser sends this for a page; this server has none of its own."""
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return True
    origin = request.headers.get("origin")
    return origin is not None and not is_own_origin(origin, request.headers.get("host", ""))
