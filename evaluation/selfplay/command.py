"""`warmline selfplay`: two supporters on the same scenarios and seeds, judged and compared."""

# typer reads these annotations when the module is loaded, so they are not postponed
import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from ...core.errors import NOTHING_CAME
from ...core.options import config_parameter, nested, options_of
from ...core.outside.console import echo_json, make_console
from ...core.outside.progress import Counting
from ...core.settings import read_settings
from ...core.tables import plain_table
from ...core.tasks import run_interruptible
from ...environments.runs.settings import RoleSettings
from ...policies.safety import DISCLAIMER
from .settings import SelfPlaySettings

if TYPE_CHECKING:
    from .result import SelfPlayResult

HIDDEN = {
    ("", "seed"),
    ("seeker.", "seated"),
    ("a.", "seated"),
    ("b.", "seated"),
    ("counselor.", "openings"),
    ("judger.", "openings"),
    ("seeker.", "strategy"),
    ("counselor.", "strategy"),
    ("judger.", "strategy"),
    *(("supporter.", name) for name in RoleSettings.model_fields),
}
"""Options without a meaning here: a and b are the supporters, and the seed is one of the seeds."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    as_json = Annotated[bool, typer.Option("--json", help="The result as JSON.")]
    _self_play.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            config_parameter(),
            *options_of(SelfPlaySettings, hidden=HIDDEN),
            inspect.Parameter("as_json", keyword, default=False, annotation=as_json),
        ]
    )
    app.command("selfplay")(_self_play)


def _self_play(config: Path | None, as_json: bool, **given: Any) -> None:
    from .play import self_play

    settings = read_settings(SelfPlaySettings, config, nested(given))
    errors = make_console(stderr=True)
    results: list[SelfPlayResult] = []
    with Counting(errors, "conversations", "verdicts") as counting:

        async def work(stop: Any) -> None:
            result = await self_play(
                settings,
                observe=lambda event: counting.add("conversations", _ended(event)),
                on_rating=lambda _: counting.add("verdicts"),
                stop=stop,
                say=errors.print,
            )
            results.append(result)

        interrupted = run_interruptible(work, errors.print, grace=settings.grace)
    if interrupted is not None:
        errors.print(Text(str(interrupted), style="yellow"))
        raise typer.Exit(interrupted.exit_code)
    [result] = results
    if as_json:
        echo_json(json.dumps(result.as_dict(), ensure_ascii=False))
    else:
        _show(result)
    if any(result.failed.values()):
        failed = ", ".join(f"{side} {count}" for side, count in result.failed.items() if count)
        text = f"conversations failed ({failed}): the same command with --retry-failed plays them"
        errors.print(Text(f"{text} again", style="yellow"), soft_wrap=True)
    if result.nothing_came:
        raise typer.Exit(NOTHING_CAME)


def _show(result: "SelfPlayResult") -> None:
    from .page import summary

    console = make_console()
    console.print(outcome_table(result), Text(summary(result)), sep="\n")
    if result.wins:
        from ..judging.tables import WIN_NOTE, win_table

        console.print(win_table(result.wins), Text(WIN_NOTE, style="dim"), sep="\n")
    console.print(Text(DISCLAIMER, style="dim"))


def outcome_table(result: "SelfPlayResult") -> Table:
    """A and B measure by measure."""
    from .page import COLUMNS, outcome_rows

    table = plain_table(*COLUMNS)
    for row in outcome_rows(result):
        table.add_row(*map(Text, row))
    return table


def _ended(event: object) -> int:
    """How many episodes an event tells of."""
    from ...core.shards.driver import UnitDone
    from ...environments.runs.events import Ended, Resumed
    from ...environments.shards.sharded import Found

    if isinstance(event, Resumed):
        return len(event.episodes)
    if isinstance(event, Found):
        return sum(event.stops.values())
    return int(isinstance(event, Ended | UnitDone))
