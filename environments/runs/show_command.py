"""`warmline show`: the conversations of a run or a log, printed."""

# typer reads these annotations when the command is registered, so they are not postponed
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from ...core.errors import DataError
from ...core.outside.console import echo_json, make_console
from ...policies.safety import DISCLAIMER
from ..episodes.episode import Episode
from ..episodes.log import attempts_of, iter_episodes
from .display import conversation


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(show)


def show(
    path: Annotated[Path, typer.Argument(help="A run's folder or a log file.")],
    episode: Annotated[list[str] | None, typer.Option("--id", help="Only this episode.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most this many.")] = 20,
    prompts: Annotated[bool, typer.Option("--prompts", help="Also every call's prompt.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Records as JSON lines.")] = False,
) -> None:
    """Print the conversations of a run."""
    console = make_console()
    wanted = set(episode or ())
    shown = 0
    for record in islice(attempts_of(path, wanted) if wanted else iter_episodes(path), limit):
        shown += 1
        if as_json:
            echo_json(record.to_json())
            continue
        console.print(conversation(record))
        if prompts:
            _print_prompts(record, console)
    if wanted and not shown:
        raise DataError(
            f"no episode with id {', '.join(sorted(wanted))}",
            file=path,
            hint="`warmline show PATH` prints the first 20 with their ids",
        )
    if not as_json:
        console.print(Text(DISCLAIMER, style="dim"))


def _print_prompts(episode: Episode, console: Console) -> None:
    for number, call in enumerate(episode.calls):
        console.print(Text(f"call {number}: {call.role}, {call.policy}", style="bold"))
        for message in episode.call_messages(call):
            console.print(Text(f"[{message.role}] {message.content}", style="dim"))
        console.print(Text(f"-> {call.text if call.error is None else call.error}\n"))
