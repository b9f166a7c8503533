"""The socket of a server for programs or for browsers."""

from __future__ import annotations

import socket

from ...core.errors import RunError


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; who connects before the server runs waits.

    Args:
        port: 0 takes a free one.

    Raises:
        RunError: the address or the port cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # the protocol by name: only then does asyncio send small answers at once, without Nagle's 40 ms
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host.strip("[]"), port))
        found.listen(2048)  # who comes while the models are loaded waits
    except OSError as error:
        found.close()
        raise RunError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            hint="another process may use the port; choose another with --port",
        ) from error
    return found
