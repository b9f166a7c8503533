"""The command line: `simulate`, `show`, `types`, `doctor`, and the commands that the rooms bring.

Options of `simulate` are made from `RunSettings`, so that file, keywords and command line cannot
drift apart. A deliberate error prints its message and leaves with code 2, an interrupt with 130.
"""

# typer reads these annotations when the module is loaded, so they are not postponed
import asyncio
import inspect
import json
import sys
from importlib import import_module
from importlib.metadata import version as installed_version
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .agents.roles import Role
from .core.console import echo, echo_json, make_console, never_fail_to_print
from .core.errors import DataError, Interrupted, RunError, WarmlineError
from .core.options import nested, options_of
from .core.tasks import run_interruptible
from .environments.episodes.log import iter_episodes
from .environments.runs.display import LiveView, conversation
from .environments.runs.estimate import estimate
from .environments.runs.settings import RunSettings, load_settings
from .environments.runs.simulate import build_environment, choose_scenarios, simulate_settings
from .environments.scenarios.problem_types import problem_types
from .policies.doctor import Finding, examine
from .policies.safety import DISCLAIMER

SHOWN_WHOLE = 20
"""Runs of up to this many episodes print every conversation."""

SMALL_MODEL_NOTE = (
    "The embedded engine is a model of 135 million parameters: it shows the machinery, not the"
    " quality. Seat a larger model with --policy openai --model ... --base-url ..."
)

HIDDEN = {
    ("seeker.", "seated"),
    ("supporter.", "seated"),
    ("counselor.", "openings"),
    ("judger.", "openings"),
}
"""Fields that have no meaning for a seat, or no room on a command line."""

app = typer.Typer(
    name="warmline",
    help="Simulate, log, train on and evaluate emotional-support conversations between agents.",
    epilog=DISCLAIMER,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Entry point of the `warmline` command."""
    never_fail_to_print()
    try:
        app()
    except (WarmlineError, OSError) as error:
        if isinstance(error, OSError):
            error = _file_error(error)
        make_console(stderr=True, soft_wrap=True).print(f"error: {error}", style="red")
        sys.exit(2)


def _file_error(error: OSError) -> RunError:
    """The error for a file or folder that the system refuses; any other fault stays as it is."""
    if error.filename is None:
        raise error
    return RunError(
        f"{error.filename}: {error.strerror}",
        hint="check the path, whether it may be written, and the space left on the disk",
    )


def _print_version(wanted: bool) -> None:
    if wanted:
        echo(f"warmline {installed_version('warmline')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Has nothing to do by itself; `--version` acts when it is read."""


# simulate: its options are the fields of RunSettings


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
    view = LiveView(total, console=console, conversations=not quiet and total <= SHOWN_WHOLE)
    with view:
        interrupted = _run_interruptible(settings, view)
    console.print(_table_of(settings.out or ""))
    console.print(Text(DISCLAIMER, style="dim"))
    if interrupted is not None:
        console.print(Text(f"{interrupted}", style="yellow"))
        raise typer.Exit(130)


def _run_interruptible(settings: RunSettings, view: LiveView) -> Interrupted | None:
    """Run; the first Ctrl-C finishes open conversations, the second drops them."""
    return run_interruptible(
        lambda stop: simulate_settings(settings, observe=view, stop=stop), view.console.print
    )


def _warn_small(settings: RunSettings, console: Console) -> None:
    if any(settings.role(role).policy == "embedded" for role in Role):
        console.print(Text(SMALL_MODEL_NOTE, style="yellow"))


def _table_of(folder: str) -> Table:
    path = Path(folder) / "summary.json"
    summary = json.loads(path.read_text("utf-8"))
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
    table.title = f"at most, for {foreseen.episodes} episodes to the turn limit, nothing cached"
    for role, used in foreseen.usage.items():
        cost = foreseen.cost[role]
        table.add_row(
            role,
            str(foreseen.calls[role]),
            str(used.prompt_tokens),
            str(used.completion_tokens),
            "no price given" if cost is None else f"{cost:.4f}",
        )
    return table


def _used(used: dict[str, Any]) -> str:
    line = f"{used['calls']} ({used['failed']} failed)" if used["failed"] else f"{used['calls']}"
    line += f", {used['prompt_tokens']} prompt tokens ({used['cached_tokens']} cached)"
    line += f", {used['completion_tokens']} completion tokens"
    if used["from_cache"]:
        line += f", {used['from_cache']} calls from the cache"
    if used["calls_without_usage"]:
        line += f", {used['calls_without_usage']} calls without token counts"
    waits = ", ".join(f"{name} {s} s" for name, s in used["latency_seconds"].items())
    line += f"; {waits}"
    return f"{line}; cost {used['cost']}" if "cost" in used else line


def _register_simulate() -> None:
    file = Annotated[
        Path | None, typer.Argument(help="TOML file with settings; options come on top.")
    ]
    quiet = Annotated[bool, typer.Option("--quiet", help="Do not print whole conversations.")]
    dry_run = Annotated[
        bool, typer.Option("--dry-run", help="Estimate calls, tokens and cost; ask no engine.")
    ]
    parameters = [
        inspect.Parameter("file", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=file),
        *options_of(RunSettings, hidden=HIDDEN),
        inspect.Parameter("quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=quiet),
        inspect.Parameter(
            "dry_run", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=dry_run
        ),
    ]
    _simulate.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    app.command("simulate", help="Simulate conversations into a run's folder; resumes by itself.")(
        _simulate
    )


_register_simulate()


@app.command()
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
    chosen = (e for e in iter_episodes(path) if not wanted or e.id in wanted)
    shown = 0
    for record in islice(chosen, limit):
        shown += 1
        if as_json:
            echo_json(record.to_json())
            continue
        console.print(conversation(record))
        if prompts:
            for number, call in enumerate(record.calls):
                console.print(Text(f"call {number}: {call.role}, {call.policy}", style="bold"))
                for message in record.call_messages(call):
                    console.print(Text(f"[{message.role}] {message.content}", style="dim"))
                console.print(Text(f"-> {call.text if call.error is None else call.error}\n"))
    if wanted and not shown:
        raise DataError(
            f"no episode with id {', '.join(sorted(wanted))}",
            file=path,
            hint="`warmline show PATH` prints the first 20 with their ids",
        )
    if not as_json:
        console.print(Text(DISCLAIMER, style="dim"))


@app.command()
def types() -> None:
    """List the 45 problem types with their categories and published counts."""
    table = Table("problem type", "category", "dialogues in ServeForEmo")
    for kind in problem_types().values():
        table.add_row(kind.name, kind.category, str(kind.count))
    make_console().print(table)


@app.command()
def doctor(
    base_url: Annotated[
        str | None, typer.Option(help="Also try this OpenAI-compatible server.")
    ] = None,
) -> None:
    """Tell what is installed, which engines work here, and what to install for the others."""
    console = make_console()
    findings = examine(base_url)
    marks = {True: ("yes", "green"), False: ("no", "yellow"), None: ("-", "dim")}
    table = Table("what", "works", "detail")
    for finding in findings:
        mark, style = marks[finding.works]
        table.add_row(finding.what, Text(mark, style=style), Text(_detail(finding)))
    console.print(table)


def _detail(finding: Finding) -> str:
    return f"{finding.detail} -> {finding.remedy}" if finding.remedy else finding.detail


ROOM_COMMANDS: tuple[str, ...] = (
    "environments.corpus.generation.command",
    "environments.corpus.cleaning.command",
    "environments.corpus.exporting.command",
    "environments.corpus.importing.command",
    "environments.corpus.review.command",
    "evaluation.analyses.command",
    "evaluation.judging.calibrate_command",
    "evaluation.replies.command",
    "evaluation.judging.command",
    "evaluation.harness.command",
    "evaluation.report.command",
    "evaluation.selfplay.command",
    "training.loop.checkpoints_command",
    "training.evolution.command",
    "training.preferences.command",
    "training.preview.command",
    "training.reproduction.command",
    "training.scorer.score_command",
    "training.command",
)
"""Modules of the rooms that bring a command: each has `register(app)` and imports nothing heavy."""

for _module in ROOM_COMMANDS:
    import_module(f".{_module}", __package__).register(app)


if __name__ == "__main__":
    main()
