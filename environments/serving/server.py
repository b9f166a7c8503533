"""The server: loopback unless a token guards it; in the foreground, or beside a script's own work."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import uvicorn
from fastapi import FastAPI

from ...core.errors import ConfigError, RunError, WarmlineError
from ...core.outside.hosts import is_loopback
from ...core.outside.secrets import register_secret
from ...policies.base import Policy, policy_name
from ...policies.safety import DISCLAIMER
from .app import make_app, unopened
from .listening import listen
from .seat import SupporterSeat
from .starting import logs_of, run_to_end

LOGGER = logging.getLogger("warmline.serving")
TOKEN_VARIABLE = "WARMLINE_SERVE_TOKEN"  # noqa: S105 - a variable's name
SHORTEST_TOKEN = 16
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")
START_SECONDS = 120.0
GRACE_SECONDS = 5
"""How long answers under way, and clients that are slow, hold the end up."""


class Server(uvicorn.Server):
    """Says what it waits for when it is stopped.

    Args:
        app: that it serves.
        config: of the server.
        tell: prints one line.
    """

    def __init__(self, app: FastAPI, config: uvicorn.Config, tell: Callable[[str], None]) -> None:
        super().__init__(config)
        self.app, self.tell = app, tell

    def failure(self) -> WarmlineError | None:
        """Why the policy could not be opened."""
        return unopened(self.app)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End: requests have `GRACE_SECONDS`, then they are cancelled."""
        if waiting := len(self.server_state.tasks):
            self.tell(
                f"stopping; requests under way: {waiting}. They have {GRACE_SECONDS} s;"
                " Ctrl-C again ends at once"
            )
        await super().shutdown(sockets)


def served_name(policy: Policy | SupporterSeat) -> str:
    """The model's name on the server: the policy's own."""
    return policy_name(policy.policy if isinstance(policy, SupporterSeat) else policy)


def serve_policy(
    policy: Policy | SupporterSeat,
    *,
    host: str = "127.0.0.1",
    port: int = 8010,
    name: str | None = None,
    tell: Callable[[str], None] = print,
) -> None:
    """Serve a policy until the process is stopped.

    Args:
        host: another address than this machine's needs a token in `WARMLINE_SERVE_TOKEN`.
        port: 0 takes any that is free.
        name: of the model; default: the policy's.
        tell: prints one line.

    Raises:
        ConfigError: another address without a token, or a token that is too short.
        RunError: the address cannot be bound.
        WarmlineError: why the policy cannot be opened.
    """
    server, bound = _prepare(policy, host, port, name, tell)
    model = name or served_name(policy)
    tell(f"http://{_shown(host)}:{bound.getsockname()[1]}/v1 serves '{model}'; Ctrl-C stops it")
    tell(DISCLAIMER)
    run_to_end(server, bound, server.failure)


@contextmanager
def serving(policy: Policy | SupporterSeat, *, name: str | None = None) -> Iterator[str]:
    """The address of a server that runs on this machine while the block does.

    Example:
        ```python
        with serving(policy) as base_url:
            client = openai.OpenAI(base_url=base_url, api_key="none")
        ```

    Raises:
        RunError: the server did not start.
        WarmlineError: why the policy cannot be opened.
    """
    server, bound = _prepare(policy, "127.0.0.1", 0, name, LOGGER.info)
    thread = threading.Thread(target=_run, args=(server, bound), daemon=True)
    thread.start()
    waited = threading.Event()
    for _ in range(int(START_SECONDS / 0.01)):
        if server.started or not thread.is_alive():
            break
        waited.wait(0.01)
    try:
        if not server.started:
            unknown = RunError(
                "the server did not start", hint="open the policy by itself to see why"
            )
            raise server.failure() or unknown
        yield f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
    finally:
        server.should_exit = True
        thread.join()


def _run(server: Server, bound: socket.socket) -> None:
    with suppress(SystemExit):  # uvicorn's own, where it could not start
        server.run(sockets=[bound])


def _prepare(
    policy: Policy | SupporterSeat,
    host: str,
    port: int,
    name: str | None,
    tell: Callable[[str], None],
) -> tuple[Server, socket.socket]:
    token = os.environ.get(TOKEN_VARIABLE) or None
    loopback = is_loopback(host)
    if token is None and not loopback:
        raise ConfigError(
            f"{host} can be reached from other machines, and nothing guards the server",
            hint=f"set {TOKEN_VARIABLE} to at least {SHORTEST_TOKEN} characters, or leave --host out",
        )
    if token is not None:
        if len(token) < SHORTEST_TOKEN:
            raise ConfigError(f"{TOKEN_VARIABLE} has fewer than {SHORTEST_TOKEN} characters")
        register_secret(token)
    app = make_app(
        policy,
        name=name or served_name(policy),
        token=token,
        hosts=LOOPBACK_HOSTS if loopback else (),
    )
    config = uvicorn.Config(
        app,
        access_log=False,
        log_config=logs_of(lambda: unopened(app)),
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    return Server(app, config, tell), listen(host, port)


def _shown(host: str) -> str:
    return f"[{host.strip('[]')}]" if ":" in host else host
