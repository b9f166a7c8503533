"""The command `warmline build`: a corpus from settings, with a report; resumes automatically."""

# typer reads these annotations when the command is registered, so they are not postponed
import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from ....core.errors import NOTHING_CAME
from ....core.options import config_parameter, nested, options_of
from ....core.outside.console import echo_json, make_console
from ....core.settings import read_settings
from ....core.tasks import run_interruptible
from ....policies.safety import DISCLAIMER
from ...episodes.episode import FAILED
from ...runs.settings import UNUSED_SEAT_OPTIONS
from ...shards.command import SMALL_MODEL_NOTE
from .settings import NOT_OURS, BuildSettings

if TYPE_CHECKING:
    import asyncio

    from rich.console import Console

    from .report import BuildReport

HIDDEN = {("", name) for name in NOT_OURS} | UNUSED_SEAT_OPTIONS
"""Fields that have no meaning for a build or for a seat."""


def register(app: typer.Typer) -> None:
    """Add the command; its options are the fields of `BuildSettings`."""
    kind = inspect.Parameter.KEYWORD_ONLY
    as_json = Annotated[bool, typer.Option("--json", help="The report as one JSON object.")]
    quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
    parameters = [
        config_parameter(),
        *options_of(BuildSettings, hidden=HIDDEN, panel="Build"),
        inspect.Parameter("quiet", kind, default=False, annotation=quiet),
        inspect.Parameter("as_json", kind, default=False, annotation=as_json),
    ]

    def build(config: Path | None, quiet: bool, as_json: bool, **given: Any) -> None:
        _build(read_settings(BuildSettings, config, nested(given)), quiet, as_json)

    build.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    app.command("build")(build)


def _build(settings: BuildSettings, quiet: bool, as_json: bool) -> None:
    from rich.markdown import Markdown

    from ...runs.display import LiveView
    from ...shards.view import ShardView
    from .build import build_corpus
    from .report import as_data, as_markdown

    if settings.out is None:
        name = settings.policy.replace(":", "-").replace("/", "-")
        settings = settings.model_copy(update={"out": f"corpora/{name}-seed{settings.seed}"})
    console, progress = make_console(), make_console(stderr=True, quiet=quiet)
    if "embedded" in (settings.policy, settings.writer().policy):
        progress.print(Text(SMALL_MODEL_NOTE, style="yellow"))
    reports: list[BuildReport] = []

    def say(message: str) -> None:
        progress.print(Text(message, style="dim"))

    async def work(stop: "asyncio.Event") -> None:
        kind = ShardView if settings.sharded else LiveView
        with kind(settings.episodes, console=progress) as view:
            reports.append(await build_corpus(settings, observe=view, tell=say, stop=stop))

    interrupted = run_interruptible(work, say, grace=settings.grace)
    if interrupted is not None:
        progress.print(Text(f"{interrupted}", style="yellow"))
        raise typer.Exit(interrupted.exit_code)
    if as_json:
        echo_json(json.dumps(as_data(reports[0]), ensure_ascii=False))
    else:
        console.print(Markdown(as_markdown(reports[0])))
        _say_next(reports[0], settings.out or "", console)
    ended = reports[0].conversations
    failed, count = sum(ended.get(end.value, 0) for end in FAILED), sum(ended.values())
    if failed:
        again = "the same command with --retry-failed plays them again"
        said = f"{failed} of {count} conversations failed: {again}"
        progress.print(Text(said, style="yellow"), soft_wrap=True)
    if failed == count > 0 or not reports[0].statistics.dialogues:
        raise typer.Exit(NOTHING_CAME)


def _say_next(report: "BuildReport", out: str, console: "Console") -> None:
    if report.statistics.dialogues:
        advice = "next, `warmline review`, or `warmline export`"
    else:
        advice = "nothing is kept; rejects.jsonl holds every answer refused, and why"
    console.print(Text(f"in {out}: {advice}"))
    console.print(Text(DISCLAIMER, style="dim"))
