"""`warmline selfplay`: two supporters on the same scenarios and seeds, judged and compared."""

# typer reads these annotations when the module is loaded, so they are not postponed
import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from ..environments.interrupt import run_interruptible
from ..environments.options import nested, options_of
from ..environments.runner import Ended
from ..environments.settings import RoleSettings, read_settings
from ..policies.safety import DISCLAIMER
from .selfplay_settings import SelfPlaySettings

if TYPE_CHECKING:
    from .selfplay import SelfPlay
    from .statistics import Estimate

HIDDEN = {
    ("", "seed"),
    ("seeker.", "seated"),
    ("a.", "seated"),
    ("b.", "seated"),
    ("counselor.", "openings"),
    ("judger.", "openings"),
    *(("supporter.", name) for name in RoleSettings.model_fields),
}
"""What has no meaning here: the supporter's seat is a's and b's, the seed is one of seeds."""

DASH = "-"


def register(app: typer.Typer) -> None:
    """Add the command."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    file = Annotated[
        Path | None, typer.Argument(help="TOML file with settings; options come on top.")
    ]
    as_json = Annotated[bool, typer.Option("--json", help="The result as JSON.")]
    _self_play.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("file", keyword, default=None, annotation=file),
            *options_of(SelfPlaySettings, hidden=HIDDEN),
            inspect.Parameter("as_json", keyword, default=False, annotation=as_json),
        ]
    )
    app.command(
        "selfplay",
        help="Play two supporters on the same scenarios and seeds, judge and compare; resumes.",
    )(_self_play)


def _self_play(file: Path | None, as_json: bool, **given: Any) -> None:
    from .selfplay import self_play

    settings = read_settings(SelfPlaySettings, file, nested(given))
    errors = Console(stderr=True)
    results: list[SelfPlay] = []
    with Progress(
        TextColumn("{task.description}"), MofNCompleteColumn(), console=errors, transient=True
    ) as bars:
        played = bars.add_task("conversations", total=None)
        judged = bars.add_task("verdicts", total=None)

        async def work(stop: Any) -> None:
            result = await self_play(
                settings,
                observe=lambda event: bars.advance(played, isinstance(event, Ended)),
                on_rating=lambda _: bars.advance(judged),
                stop=stop,
            )
            results.append(result)

        interrupted = run_interruptible(work, errors.print)
    if interrupted is not None:
        errors.print(Text(str(interrupted), style="yellow"))
        raise typer.Exit(130)
    [result] = results
    if as_json:
        typer.echo(json.dumps(result.as_dict(), ensure_ascii=False))
        return
    console = Console()
    console.print(outcome_table(result), Text(summary(result)), sep="\n")
    if result.wins:
        from .judge_command import win_table

        console.print(win_table(result.wins))
    console.print(Text(DISCLAIMER, style="dim"))


def outcome_table(result: "SelfPlay") -> Table:
    """A and B measure by measure."""
    table = Table(
        "measure", "A", "B", "A - B", "95 % interval", "p", "p (Holm)", "pairs", "missing"
    )
    for each in result.outcomes:
        paired = each.paired
        table.add_row(
            each.measure + ("" if each.judged else " (no judge)"),
            _mean(each.a),
            _mean(each.b),
            DASH if paired.difference is None else f"{paired.difference:+.2f}",
            Text(str(paired.interval) if paired.interval else DASH),
            DASH if paired.p is None else f"{paired.p:.3f}",
            DASH if each.p_holm is None else f"{each.p_holm:.3f}",
            str(paired.n),
            str(paired.missing),
        )
    return table


def _mean(estimate: "Estimate") -> str:
    return DASH if estimate.value is None else f"{estimate.value:.2f}"


def summary(result: "SelfPlay") -> str:
    """What was played, and what differs beyond chance, or that nothing does."""
    apart = [o.measure for o in result.outcomes if o.p_holm is not None and o.p_holm < 0.05]
    told = f"A and B differ on {', '.join(apart)}" if apart else "A and B differ on no measure"
    return (
        f"{result.scenarios} scenarios, {len(result.seeds)} seed(s); failed: A"
        f" {result.failed['a']}, B {result.failed['b']}; unreadable verdicts:"
        f" {result.unreadable}.\n{told} beyond chance (permutation test by scenario, Holm, 5 %)."
    )
