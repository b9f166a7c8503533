"""`warmline judge`: a judge over a log, or over the conversations of two.

Options are made from `JudgeSettings`; `judge_run` does the work.
"""

# typer reads these annotations when the module is loaded, so they are not postponed
import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from ...core.errors import NOTHING_CAME
from ...core.options import config_parameter, nested, options_of
from ...core.outside.console import echo_json, make_console
from ...core.outside.progress import Counting
from ...core.settings import read_settings
from ...core.tasks import run_interruptible
from ...policies.safety import DISCLAIMER
from .settings import JudgeSettings

if TYPE_CHECKING:
    from .judge_run import JudgeResult


def register(app: typer.Typer) -> None:
    """Add the command."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    run = Annotated[
        Path,
        typer.Argument(help="A run's folder, a log file, or an evaluation's folder of replies."),
    ]
    as_json = Annotated[bool, typer.Option("--json", help="The result as JSON.")]
    _judge.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("run", keyword, annotation=run),
            config_parameter(),
            inspect.Parameter("as_json", keyword, default=False, annotation=as_json),
            *options_of(JudgeSettings),
        ]
    )
    app.command("judge")(_judge)


def _judge(run: Path, config: Path | None, as_json: bool, **given: Any) -> None:
    settings = read_settings(JudgeSettings, config, nested(given))
    result = _work(run, settings)
    if as_json:
        echo_json(json.dumps(result.as_dict(), ensure_ascii=False))
    else:
        _show(result, compared=settings.against is not None)
    if result.unreadable:
        raise typer.Exit(NOTHING_CAME)
    if result.tally.failed:
        raise typer.Exit(1)


def _work(run: Path, settings: JudgeSettings) -> "JudgeResult":
    from .judge_run import judge_run

    errors = make_console(stderr=True)
    results: list[JudgeResult] = []
    with Counting(errors, "verdicts") as counting:

        async def work(stop: Any) -> None:
            results.append(
                await judge_run(
                    run,
                    settings,
                    observe=lambda _: counting.add("verdicts"),
                    stop=stop,
                    say=errors.print,
                )
            )

        interrupted = run_interruptible(work, errors.print, grace=settings.grace)
    if interrupted is not None:
        errors.print(Text(str(interrupted), style="yellow"))
        raise typer.Exit(interrupted.exit_code)
    return results[0]


def _show(result: "JudgeResult", *, compared: bool) -> None:
    from .tables import WIN_NOTE, published_notes, score_table, win_table

    console = make_console()
    if compared:
        console.print(win_table(result.wins), Text(WIN_NOTE, style="dim"), sep="\n")
    else:
        name = result.rubric.name
        console.print(score_table(result.scores, name), published_notes(name))
    console.print(summary(result), Text(DISCLAIMER, style="dim"), sep="\n")


def summary(result: "JudgeResult") -> Text:
    """What was asked, found and missing, and where it is."""
    tally = result.tally
    unreadable = sum(tally.unreadable.values())
    text = (
        f"{tally.asked} asked, {tally.resumed} there already, {unreadable} unreadable ->"
        f" {result.out}"
    )
    if unreadable:
        text += (
            "\nwhat the judge answered instead of the JSON asked for is in that file: notes.answer"
        )
    if result.left_out:
        text += f"\n{result.left_out} replies not asked about: without a text, or without a partner"
    text += "".join(f"\n{told}" for told in result.caveats)
    if tally.failed:
        errors = "; ".join(f"{what} ({count})" for what, count in tally.errors.most_common(3))
        text += f"\n{tally.failed} not answered, the same command asks them again: {errors}"
    return Text(text, style="yellow" if tally.failed or unreadable or result.caveats else "")
