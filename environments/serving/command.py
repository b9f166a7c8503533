"""`warmline serve-policy`: a policy as an OpenAI-compatible server."""

# typer reads these annotations when the module is loaded, so they are not postponed
from typing import Annotated

import typer
from rich.text import Text

from ...core.errors import MissingExtra
from ...core.outside.console import make_console
from ...policies.safety import DISCLAIMER


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(epilog=DISCLAIMER)(serve_policy)


def serve_policy(
    policy: Annotated[str, typer.Option(help="The policy, by name or import string.")] = "embedded",
    model: Annotated[
        str | None, typer.Option(help="Its model, by name or path, such as a checkpoint.")
    ] = None,
    base_url: Annotated[str | None, typer.Option(help="Address of its server.")] = None,
    seat: Annotated[
        bool,
        typer.Option(
            "--seat",
            help="Put the supporter's prompt and sentence cap around it; the user is the seeker.",
        ),
    ] = False,
    problem_type: Annotated[
        str | None, typer.Option(help="With --seat: what the talk is about.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model on the server.")] = None,
    host: Annotated[
        str, typer.Option(help="Address to bind; others than this machine's need a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8010,
) -> None:
    """Serve a policy to other tools as an OpenAI-compatible server."""
    from ...policies.registry import make_policy
    from ..scenarios.scenario import UNSPECIFIED

    try:
        from .seat import SupporterSeat
        from .server import serve_policy as serve
    except ImportError as error:
        if error.name not in ("fastapi", "uvicorn", "starlette"):
            raise
        raise MissingExtra("serving a policy", extra="web") from error
    given = {"model": model, "base_url": base_url}
    made = make_policy(policy, **{k: v for k, v in given.items() if v is not None})
    served = SupporterSeat(made, problem_type=problem_type or UNSPECIFIED) if seat else made
    console = make_console(stderr=True)
    serve(served, host=host, port=port, name=name, tell=lambda line: console.print(Text(line)))
