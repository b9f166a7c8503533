"""What guards the pages: sizes, rates, headers, signed forms, and the owner's session.

Nothing of a request is logged, and no address is stored: rates are counted in memory alone.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.exceptions import HTTPException

from ....core.errors import ConfigError
from ....core.outside.hosts import host_name, is_loopback, is_own_origin

MAX_BODY = 256 * 1024
"""Bytes of a request; longer ones are refused before they are read."""
SECRET_VARIABLE = "WARMLINE_STUDY_SECRET"  # noqa: S105 - a variable's name
SHORTEST_SECRET = 16
REMEMBERED = 10_000
"""Addresses and participants whose rates are kept at once."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

TOO_LARGE = (
    b"<!doctype html><html lang=en><title>Too long</title><h1>That was too long</h1>"
    b"<p>Nothing was stored. Go back and shorten it."
)
WRONG_HOST = b"<!doctype html><html lang=en><title>Refused</title><h1>Refused</h1>"


class Guard:
    """Around the application: sizes, hosts and headers.

    Args:
        app: the application.
        hosts: names under which it may be asked; empty: any.
    """

    def __init__(self, app: App, hosts: tuple[str, ...] = ()) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        name = host_name(headers.get(b"host", b"").decode("latin-1"))
        if name is None or (self.hosts and name not in self.hosts):
            await _refuse(send, 421, WRONG_HOST)
            return
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > MAX_BODY:
            await _refuse(send, 413, TOO_LARGE)
            return
        read = 0

        async def counted() -> MutableMapping[str, Any]:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > MAX_BODY:
                raise HTTPException(413)
            return message

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (name.encode(), value.encode())
                        for name, value in HEADERS.items()
                        if name.encode() not in own
                    ),
                ]
            await send(message)

        await self.app(scope, counted, with_headers)


async def _refuse(send: Send, status: int, body: bytes) -> None:
    headers = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
    headers += [(b"content-type", b"text/html; charset=utf-8"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Rate:
    """So many a minute for each key; what is not used is saved up for one minute.

    Args:
        per_minute: how many.
        clock: seconds.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute, self.clock = per_minute, clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, key: str) -> bool:
        """Whether one more is allowed now."""
        with self._lock:
            now = self.clock()
            left, at = self._left.pop(key, (float(self.per_minute), now))
            left = min(self.per_minute, left + (now - at) * self.per_minute / 60)
            allowed = left >= 1
            self._left[key] = (left - allowed, now)
            while len(self._left) > REMEMBERED:
                self._left.popitem(last=False)
        return allowed


class Signer:
    """Signs forms and the owner's session with the study's own key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def sign(self, what: str) -> str:
        """A signature that nobody else can make."""
        return hmac.new(self._key, what.encode("utf-8", "replace"), hashlib.sha256).hexdigest()


class Sessions:
    """The owner's sessions, in memory: a restart of the server ends them.

    Args:
        secret: what the owner must know.
        hours: how long a session lasts.
    """

    def __init__(self, secret: str, hours: float = 12) -> None:
        self._secret = hashlib.sha256(secret.encode()).digest()
        self._seconds = hours * 3600
        self._open: dict[str, float] = {}

    def begin(self, secret: str) -> str | None:
        """A new session for who knows the secret."""
        given = hashlib.sha256(secret.encode("utf-8", "replace")).digest()
        if not hmac.compare_digest(given, self._secret):
            return None
        now = time.monotonic()
        self._open = {name: end for name, end in self._open.items() if end > now}
        session = secrets.token_urlsafe(32)
        self._open[session] = now + self._seconds
        return session

    def holds(self, session: str) -> bool:
        """Whether a session was begun here and lasts."""
        return self._open.get(session, 0) > time.monotonic()

    def end(self, session: str) -> None:
        """End a session."""
        self._open.pop(session, None)


def same_origin(headers: Any) -> bool:
    """Whether a form comes from our own pages, as far as the browser says."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin in (None, "null") or is_own_origin(origin, headers.get("host", ""))


def check_bind(host: str, secret: str | None, help_checked: str) -> None:
    """Refuse to serve people elsewhere without a secret of the owner's, or with unchecked help lines.

    Raises:
        ConfigError: says what is missing, and that TLS is needed in front.
    """
    if is_loopback(host):
        return
    problems = []
    if not secret or len(secret) < SHORTEST_SECRET:
        problems.append(
            f"set {SECRET_VARIABLE} in the environment, to at least {SHORTEST_SECRET} characters"
        )
    if not help_checked.strip():
        problems.append(
            "help_checked in the study's file must say who rang or looked up the help lines of the"
            " participants' country, and when"
        )
    if problems:
        raise ConfigError(
            f"'{host}' lets other machines in, and people in distress with them",
            problems=problems,
            hint="the pages are sent as they are: put a server that speaks TLS in front and bind to"
            " 127.0.0.1",
        )
