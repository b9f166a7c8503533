"""`warmline simulate`: conversations into a run's folder; the same command resumes it.

The options are the fields of `RunSettings`.
"""

# typer reads these annotations when the command is registered, so they are not postponed
import asyncio
import inspect
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...agents.roles import Role
from ...core.errors import NOTHING_CAME, Interrupted
from ...core.options import nested, options_of
from ...core.outside.console import make_console
from ...core.tasks import run_interruptible
from ...policies.safety import DISCLAIMER
from .display import LiveView
from .estimate import estimate
from .settings import UNUSED_SEAT_OPTIONS, RunSettings, load_settings
from .simulate import build_environment, choose_scenarios, simulate_settings
from .summary import SUMMARY_NAME

MAX_PRINTED = 20
"""Runs of up to this many episodes print every conversation."""

SMALL_MODEL_NOTE = (
    "The embedded engine is a model of 135 million parameters: what it writes shows the machinery,"
    " not the quality. Seat a larger model with --policy openai --model ... --base-url ..."
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    file = Annotated[
        Path | None, typer.Argument(help="TOML file with settings; options override it.")
    ]
    quiet = Annotated[bool, typer.Option("--quiet", help="Do not print whole conversations.")]
    dry_run = Annotated[
        bool, typer.Option("--dry-run", help="Estimate calls, tokens and cost; ask no engine.")
    ]
    parameters = [
        inspect.Parameter("file", keyword, default=None, annotation=file),
        *options_of(RunSettings, hidden=UNUSED_SEAT_OPTIONS),
        inspect.Parameter("quiet", keyword, default=False, annotation=quiet),
        inspect.Parameter("dry_run", keyword, default=False, annotation=dry_run),
    ]
    _simulate.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    app.command(
        "simulate", help="Simulate conversations into a run's folder; resumes automatically."
    )(_simulate)


def _simulate(file: Path | None, **given: Any) -> None:
    quiet, dry_run = given.pop("quiet"), given.pop("dry_run")
    settings = load_settings(file, nested(given))
    if settings.out is None:
        folder = f"runs/{settings.policy.replace(':', '-').replace('/', '-')}-seed{settings.seed}"
        settings = settings.model_copy(update={"out": folder})
    console = make_console()
    if dry_run:
        console.print(_estimate_table(settings))
        return
    total = len(choose_scenarios(settings))
    _warn_small(settings, console)
    view = LiveView(total, console=console, conversations=not quiet and total <= MAX_PRINTED)
    with view:
        interrupted = _run_interruptible(settings, view)
    summary = json.loads((Path(settings.out or "") / SUMMARY_NAME).read_text("utf-8"))
    console.print(_table_of(summary, settings.out or ""))
    console.print(Text(DISCLAIMER, style="dim"))
    failed = sum(summary["errors"].values())
    if interrupted is not None:
        console.print(Text(f"{interrupted}", style="yellow"))
    if failed:
        console.print(Text(_failures(failed, summary), style="yellow"), soft_wrap=True)
    if interrupted is not None:
        raise typer.Exit(interrupted.exit_code)
    if failed == summary["episodes"] > 0:
        raise typer.Exit(NOTHING_CAME)


def _failures(failed: int, summary: dict[str, Any]) -> str:
    """How many episodes failed, by error, and what to type."""
    errors = ", ".join(f"{name} {count}" for name, count in summary["errors"].items())
    return (
        f"{failed} of {summary['episodes']} episodes failed ({errors}): the same command with"
        " --retry-failed plays them again"
    )


def _run_interruptible(settings: RunSettings, view: LiveView) -> Interrupted | None:
    """Run; the first Ctrl-C finishes open conversations, the second drops them."""
    return run_interruptible(
        lambda stop: simulate_settings(settings, observe=view, stop=stop),
        view.console.print,
        grace=settings.grace,
    )


def _warn_small(settings: RunSettings, console: Console) -> None:
    if any(settings.role(role).policy == "embedded" for role in Role):
        console.print(Text(SMALL_MODEL_NOTE, style="yellow"))


def _table_of(summary: dict[str, Any], folder: str) -> Table:
    table = Table(title=folder, show_header=False)
    for key, value in summary.items():
        if key != "usage" and value not in (None, {}, 0):
            shown = value
            if isinstance(value, dict):
                shown = ", ".join(f"{name} {count}" for name, count in value.items())
            table.add_row(key.replace("_", " "), str(shown))
    for role, used in summary["usage"].items():
        table.add_row(f"{role} calls", _used(used))
    return table


def _estimate_table(settings: RunSettings) -> Table:
    foreseen = asyncio.run(
        estimate(build_environment(settings), choose_scenarios(settings), prices=settings.prices)
    )
    table = Table("role", "calls", "prompt tokens", "completion tokens", "cost")
    table.title = f"{foreseen.episodes} episodes to the turn limit: expected / at most"
    table.caption = (
        "expected: answers of usual length; at most: every answer to max_tokens (? where a speaker has"
        " none); nothing cached, retries not counted"
    )
    for role, used in foreseen.usage.items():
        most = foreseen.bound[role]
        table.add_row(
            role,
            str(foreseen.calls[role]),
            f"{used.prompt_tokens} / {most.prompt_tokens if most else '?'}",
            f"{used.completion_tokens} / {most.completion_tokens if most else '?'}",
            _money(foreseen.cost[role], foreseen.cost_bound[role]),
        )
    return table


def _money(expected: float | None, bound: float | None) -> str:
    if expected is None:
        return "no price given"
    return f"{expected:.4f} / {'?' if bound is None else f'{bound:.4f}'}"


def _used(used: dict[str, Any]) -> str:
    line = f"{used['calls']} ({used['failed']} failed)" if used["failed"] else f"{used['calls']}"
    line += f", {used['prompt_tokens']} prompt tokens ({used['cached_tokens']} cached)"
    line += f", {used['completion_tokens']} completion tokens"
    if used["from_cache"]:
        line += f", {used['from_cache']} calls from the cache"
    if used["calls_without_usage"]:
        line += f", {used['calls_without_usage']} calls without token counts"
    if used["calls_with_estimated_usage"]:
        line += f", {used['calls_with_estimated_usage']} calls with estimated token counts"
    waits = ", ".join(
        f"{name} {s} s" for name, s in used["latency_seconds"].items() if s is not None
    )
    line += f"; {waits}" if waits else "; latency not measured"
    return f"{line}; cost {used['cost']}" if "cost" in used else line
