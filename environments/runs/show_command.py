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
from ...policies.safety import disclaimer_for
from ..episodes.episode import Episode
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
    from ..episodes.log import attempts_of, iter_episodes, read_episodes

    console = make_console()
    wanted = set(episode or ())
    shown, imported = 0, 0
    for record in islice(attempts_of(path, wanted) if wanted else iter_episodes(path), limit):
        shown += 1
        imported += record.imported
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
    if shown == limit and not wanted and (there := len(read_episodes(path))) > shown:
        told = f"{shown:,} of {there:,} conversations; --limit {there} shows all, --id ID one"
        make_console(stderr=True, soft_wrap=True).print(told, style="yellow", highlight=False)
    if not as_json:
        said = disclaimer_for(generated=shown > imported or not shown, imported=imported > 0)
        console.print(Text(said, style="dim"))


def _print_prompts(episode: Episode, console: Console) -> None:
    for number, call in enumerate(episode.calls):
        console.print(Text(f"call {number}: {call.role}, {call.policy}", style="bold"))
        for message in episode.call_messages(call):
            console.print(Text(f"[{message.role}] {message.content}", style="dim"))
        console.print(Text(f"-> {call.text if call.error is None else call.error}\n"))
