"""Redirects: a prompt holds what people said, so it goes to the server that was named and to no other."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from ...core.errors import RedirectRefused

if TYPE_CHECKING:
    from httpx import Response

_PORTS = {"http": 80, "https": 443}


async def refuse_other_server(response: Response) -> None:
    """A hook for each response of httpx: stop before a redirect to another server is followed.

    Raises:
        RedirectRefused: names both servers.
    """
    if not response.has_redirect_location:
        return
    asked = str(response.request.url)
    target = urljoin(asked, response.headers["location"])
    if not is_same_server(asked, target):
        raise RedirectRefused(
            f"{_server(asked)} redirects to {_server(target)}, which would be sent the whole prompt",
            hint="set base_url to the server that is to answer, if you trust it",
        )


def is_same_server(asked: str, target: str) -> bool:
    """Whether two addresses name one server: the same host and port, or its switch to https."""
    try:
        before, after = _address(asked), _address(target)
    except ValueError:  # not an address
        return False
    if before == after:
        return True
    upgraded = (before[0], after[0]) == ("http", "https") and before[1] == after[1]
    return upgraded and (before[2] == after[2] or (before[2], after[2]) == (80, 443))


def _address(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ValueError(f"not an http address: {url}")
    return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]


def _server(url: str) -> str:
    """Scheme, host and port of an address; a path or query may hold what is private."""
    try:
        scheme, host, port = _address(url)
    except ValueError:
        return "something that is not an http address"
    shown = f"[{host}]" if ":" in host else host
    return f"{scheme}://{shown}:{port}"
