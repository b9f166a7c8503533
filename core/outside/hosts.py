"""Names of hosts, as requests give them and as addresses to listen on."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def host_name(host: str) -> str | None:
    """The name in a `Host` header, in lower case and without its port; None where none can be read."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:  # such as an open bracket
        return None


def is_own_origin(origin: str, host: str) -> bool:
    """Whether an `Origin` header names the server that a `Host` header names."""
    try:
        return urlsplit(origin).netloc == host
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Whether an address to listen on reaches this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:  # another name
        return False
