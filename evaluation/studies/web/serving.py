"""The server: one process, loopback unless told otherwise, no log of requests."""

from __future__ import annotations

from collections.abc import Callable

import python_multipart  # noqa: F401 - starlette looks for it only when the first form comes
import uvicorn

from ....core.outside.hosts import is_loopback
from ....core.outside.secrets import register_secret
from ....environments.serving.listening import listen
from ....environments.serving.starting import logs_of, run_to_end
from ..settings import StudySettings
from .app import make_app
from .security import SECRET_VARIABLE, check_bind
from .site import Site

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")


def serve_study(
    settings: StudySettings,
    *,
    host: str,
    port: int,
    secret: str,
    given: bool,
    tell: Callable[[str], None],
) -> None:
    """Serve a study until it is stopped. Talks that wait for a model go on at the next start.

    Args:
        secret: the owner's.
        given: whether the owner chose it; else it is printed.
        tell: prints one line.

    Raises:
        ConfigError: another address than this machine's without a secret or checked help lines.
        RunError: the address cannot be bound.
        WarmlineError: why a policy cannot be opened.
    """
    check_bind(host, secret if given else None, settings.help_checked)
    register_secret(secret)
    bound = listen(host, port)
    site = Site(settings, secret, tell=tell)
    loopback = is_loopback(host)
    shown = f"[{host}]" if ":" in host else host
    base = f"http://{shown}:{bound.getsockname()[1]}"
    if settings.open:
        tell(f"participants: {base}/join/{site.study.value('join')}")
    tell(f"the study's owner: {base}/admin")
    if not given:
        print(f"the owner's secret, for this start alone: {secret}", flush=True)  # noqa: T201
        tell(f"(set {SECRET_VARIABLE} to choose one)")
    if not loopback:
        tell(
            "pages are sent as they are: serve people through a proxy that speaks TLS, and no other way"
        )
    if not settings.contact.email and not settings.contact.phone:
        tell("[contact] names nobody whom participants could reach")
    config = uvicorn.Config(
        make_app(site, LOOPBACK_HOSTS if loopback else ()),
        log_config=logs_of(lambda: site.unopened),
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=10,
        limit_concurrency=1000,
    )
    server = uvicorn.Server(config)
    site.ending = lambda: server.should_exit
    run_to_end(server, bound, lambda: site.unopened)
