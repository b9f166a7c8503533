"""`warmline simulate`: conversations into a run's folder; the same command resumes it.

The options are the fields of `SimulateSettings`. With `--workers` several processes play it.
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
from ...core.files import episode_logs
from ...core.options import config_parameter, nested, options_of
from ...core.outside.console import echo, make_console
from ...core.stores.store import folder_of, kept
from ...core.tasks import run_interruptible
from ...policies.safety import DISCLAIMER
from ..runs.settings import UNUSED_SEAT_OPTIONS, RunSettings
from ..runs.summary import SUMMARY_NAME
from .settings import SimulateSettings, load_simulate_settings, refuse_store

MAX_PRINTED = 20
"""Runs of up to this many episodes print every conversation."""

SMALL_MODEL_NOTE = (
    "The embedded engine is a model of 135 million parameters, trained for its seats and small all the"
    " same: it shows the machinery. Seat a larger one with --policy openai --model ... --base-url ..."
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    quiet = Annotated[bool, typer.Option("--quiet", help="Do not print whole conversations.")]
    dry_run = Annotated[
        bool, typer.Option("--dry-run", help="Estimate calls, tokens and cost; ask no engine.")
    ]
    parameters = [
        config_parameter(),
        *options_of(SimulateSettings, hidden=UNUSED_SEAT_OPTIONS),
        inspect.Parameter("quiet", keyword, default=False, annotation=quiet),
        inspect.Parameter("dry_run", keyword, default=False, annotation=dry_run),
    ]
    _simulate.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    app.command("simulate")(_simulate)


def _simulate(config: Path | None, **given: Any) -> None:
    quiet, dry_run = given.pop("quiet"), given.pop("dry_run")
    settings = load_simulate_settings(config, nested(given))
    if settings.out is None:
        settings = settings.model_copy(update={"out": settings.default_folder()})
    console = make_console()
    if dry_run:
        console.print(_estimate_table(settings))
        if said := _already_there(settings):
            console.print(Text(said), soft_wrap=True)
        if settings.on == "slurm":
            from .sharded import slurm_array

            array = slurm_array(Path(settings.out or ""), settings.slurm)
            echo(array.script(settings.workers or 1))
        return
    _warn_small(settings, console)
    refuse_store(settings.on, settings.out)
    with kept(settings.out or ""):
        _play(settings, console, quiet=quiet)


def _play(settings: SimulateSettings, console: Console, *, quiet: bool) -> None:
    """Play it, and tell what came of it."""
    folder = folder_of(settings.out or "")
    interrupted = None
    if settings.on == "slurm" and _submitted(settings, console):
        return
    if settings.sharded and settings.on != "slurm":
        interrupted = _played_by_workers(settings, console, quiet=quiet)
    elif settings.on != "slurm":
        interrupted = _played_here(settings, console, quiet=quiet)
    summary = json.loads((folder / SUMMARY_NAME).read_text("utf-8"))
    console.print(_table_of(summary, settings.out or ""))
    console.print(Text(DISCLAIMER, style="dim"))
    failed = sum(summary["errors"].values())
    if interrupted is not None:
        console.print(Text(f"{interrupted}", style="yellow"))
    if failed:
        said = _failures(failed, summary, settings.out or "")
        console.print(Text(said, style="yellow"), soft_wrap=True)
    if interrupted is not None:
        raise typer.Exit(interrupted.exit_code)
    if failed == summary["episodes"] > 0:
        raise typer.Exit(NOTHING_CAME)


def _failures(failed: int, summary: dict[str, Any], out: str) -> str:
    """How many episodes failed, by error, and what to type."""
    errors = ", ".join(f"{name} {count}" for name, count in summary["errors"].items())
    return (
        f"{failed} of {summary['episodes']} episodes failed ({errors}): the same command with"
        f" --retry-failed plays them again, `warmline show {out}` says why each failed"
    )


def _played_here(
    settings: SimulateSettings, console: Console, *, quiet: bool
) -> Interrupted | None:
    """Play it; the first Ctrl-C finishes open conversations, the second drops them."""
    from ..runs.display import LiveView
    from ..runs.simulate import choose_scenarios, simulate_settings

    total = len(choose_scenarios(settings))
    conversations = not quiet and total <= MAX_PRINTED
    with LiveView(total, console=console, conversations=conversations) as view:
        return run_interruptible(
            lambda stop: simulate_settings(settings, observe=view, stop=stop),
            console.print,
            grace=settings.grace,
        )


def _played_by_workers(
    settings: SimulateSettings, console: Console, *, quiet: bool
) -> Interrupted | None:
    """Have workers play it; interrupts mean the same."""
    from ..episodes.log import read_episodes
    from ..runs.display import conversation
    from ..runs.simulate import choose_scenarios
    from .sharded import ShardedRun
    from .view import ShardView

    run = ShardedRun.of_settings(settings, choose_scenarios(settings))
    total = len(run.scenarios)
    with ShardView(total, console=console) as view:
        interrupted = run_interruptible(
            lambda stop: run.play_as(settings, observe=view, stop=stop),
            console.print,
            grace=settings.grace,
        )
    if not quiet and total <= MAX_PRINTED:
        for episode in read_episodes(run.out).chosen(s.id for s in run.scenarios):
            console.print(conversation(episode))
    return interrupted


def _submitted(settings: SimulateSettings, console: Console) -> bool:
    """Submit what is missing to Slurm; whether anything was."""
    from ..runs.simulate import choose_scenarios
    from .sharded import ShardedRun

    run = ShardedRun.of_settings(settings, choose_scenarios(settings))
    job = asyncio.run(run.submit(settings.workers, settings.slurm))
    if job is not None:
        console.print(Text(f"Slurm's job {job} plays {settings.out}"))
        console.print(Text(f"  warmline status {settings.out}   how far it is"))
        console.print(Text("  the same command again, once it has ended: what is still missing"))
    return job is not None


def _warn_small(settings: RunSettings, console: Console) -> None:
    if any(settings.role(role).policy == "embedded" for role in Role):
        console.print(Text(SMALL_MODEL_NOTE, style="yellow"))


def _table_of(summary: dict[str, Any], folder: str) -> Table:
    table = Table(title=folder, show_header=False)
    for key, value in summary.items():
        if key not in ("usage", "endpoints") and value not in (None, {}, 0):
            shown = value
            if isinstance(value, dict):
                shown = ", ".join(f"{name} {count}" for name, count in value.items())
            table.add_row(key.replace("_", " "), str(shown))
    for role, used in summary["usage"].items():
        table.add_row(f"{role} calls", _used(used))
    for address, used in summary.get("endpoints", {}).items():
        table.add_row(Text(f"calls at {address}"), _used(used))
    return table


def _already_there(settings: RunSettings) -> str | None:
    """How many of the episodes the run's folder holds.

    Raises:
        RunError: it holds a run with other settings; the difference is shown.
    """
    from ..episodes.index import LogIndex
    from ..runs.finished import missing_and_finished
    from ..runs.folder import compare_run, run_identity
    from ..runs.simulate import build_environment, choose_scenarios
    from ..scenarios.samples import ids_of

    folder = Path(settings.out or "")
    if not folder.is_dir() or not (logs := episode_logs(folder)):
        return None
    compare_run(folder, run_identity(build_environment(settings), settings.seed))
    names, indices = ids_of(choose_scenarios(settings)), [LogIndex.of(log) for log in logs]
    again = settings.retry_failed
    missing, there = missing_and_finished(indices, names, retry_failed=again)
    return f"{folder} holds {len(there)} of them already; {len(missing)} would be played"


def _estimate_table(settings: RunSettings) -> Table:
    from ..runs.estimate import estimate
    from ..runs.simulate import build_environment, choose_scenarios

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
