"""The command `warmline score`: a trained scorer rates what supporters said."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ...core.outside.console import make_console
from ...core.outside.progress import Counting
from ...policies.safety import DISCLAIMER


def register(app: typer.Typer) -> None:
    """Add `score`."""
    app.command()(score)


def score(
    log: Annotated[
        Path, typer.Argument(help="A run's folder, an episode log, or an evaluation's replies.")
    ],
    model: Annotated[Path, typer.Option(help="Folder that `warmline train scorer` wrote.")],
    out: Annotated[
        Path | None, typer.Option(help="File of ratings; default: ratings.jsonl next to the log.")
    ] = None,
    corpus: Annotated[
        Path | None,
        typer.Option(help="Where LOG holds replies of `evaluate`: the corpus that was evaluated."),
    ] = None,
    max_batch: Annotated[int, typer.Option(min=1, help="Replies in one batch.")] = 32,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; default all.")] = None,
) -> None:
    """Rate every reply of a log on the scorer's dimensions; resumes automatically."""
    from ...core.errors import ConfigError
    from ...core.tasks import run_sync
    from ...environments.episodes.log import read_episodes
    from ...environments.episodes.rating import RATINGS_NAME
    from ...environments.episodes.sides import place_of
    from ...evaluation.replies.places import caveats_of, holds_replies, place_replies
    from ...policies.heads.scorer import ScorerPolicy
    from ..loop.command import need_libraries, quiet_libraries

    need_libraries()
    quiet_libraries()
    from .data import RealReply, iter_real_replies
    from .ratings import evaluated_replies, rate_replies, rates_of

    console = make_console()
    missing = 0
    if holds_replies(log):
        placed = place_replies(log, corpus)
        replies: Iterable[RealReply] = evaluated_replies(placed.replies)
        missing = placed.missing
    elif corpus is not None:
        raise ConfigError(
            f"{log} holds conversations, so --corpus would change nothing", hint="leave it out"
        )
    else:
        replies = iter_real_replies(read_episodes(log))
    file = out or place_of(log).folder / RATINGS_NAME
    scorer = ScorerPolicy(model, max_batch=max_batch, threads=threads)

    async def rate() -> None:
        async with scorer:
            await rate_replies(
                scorer,
                replies,
                file,
                concurrency=2 * max_batch,
                on_done=lambda count: counting.add("replies rated", count),
            )

    with Counting(make_console(stderr=True), "replies rated") as counting:
        run_sync(rate())
    for name, (value, counted, lost) in rates_of(file, scorer.id).items():
        shown = "not known" if value is None else f"{value:.1%}"
        unread = f"; {lost} could not be judged" if lost else ""
        console.print(f"{name}: {shown} of {counted} replies{unread}")
    for told in caveats_of(log) if holds_replies(log) else ():
        console.print(Text(told, style="yellow"), soft_wrap=True)
    if missing:
        console.print(f"{missing} replies without a text were not rated")
    console.print(f"ratings: {file}", soft_wrap=True)
    console.print(Text(DISCLAIMER, style="dim"))
