"""`warmline status` and `warmline compact`: how a run stands, and one log of many."""

# typer reads these annotations when the command is registered, so they are not postponed
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from ...core.outside.console import echo_json, make_console

RUN = Annotated[Path, typer.Argument(help="A run's folder.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("status")(_status)
    app.command("compact")(_compact)


def _status(
    run: RUN, as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False
) -> None:
    from .status import run_status

    status = run_status(run)
    if as_json:
        echo_json(json.dumps(status, ensure_ascii=False))
        return
    console = make_console()
    of = "" if status["asked"] is None else f" of {status['asked']}"
    stops = ", ".join(f"{stop} {count}" for stop, count in status["stops"].items())
    if status["episodes"] or not status["workers"]:
        console.print(Text(f"{status['episodes']}{of} episodes" + (f": {stops}" if stops else "")))
    if status["workers"]:
        console.print(_table(status["workers"]))
        console.print(Text(f"{status['tokens_per_second']:.0f} tokens/s"))


def _table(workers: list[dict[str, Any]]) -> Table:
    table = Table(
        "worker", "host", "state", "open", "done", "failed", "tokens/s", "restarts", "said"
    )
    for said in workers:
        table.add_row(
            *(str(said[name]) for name in ("shard", "host", "state", "open", "done", "failed")),
            f"{said['tokens_per_second']:.0f}",
            str(said["restarts"]),
            f"{said['seconds_ago']:.0f} s ago",
        )
    table.caption = "open, done and failed: since the worker's last start"
    return table


def _compact(run: RUN) -> None:
    from .compact import compact

    made = compact(run)
    line = f"{run}/episodes.jsonl: {made.episodes} episodes of {made.logs} logs"
    if made.dropped:
        line += f"; {made.dropped} records that did not count are left out"
    make_console().print(Text(line))
