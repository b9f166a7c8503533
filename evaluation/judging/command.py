"""`warmline judge`: a judge over a log, or over the conversations of two."""

# typer reads these annotations when the module is loaded, so they are not postponed
import dataclasses
import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import Field
from rich.progress import MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from ...core.console import echo_json, make_console
from ...core.errors import ConfigError
from ...core.options import nested, options_of
from ...core.settings import read_settings
from ...core.tasks import run_interruptible
from ...environments.episodes.log import iter_episodes, read_episodes
from ...environments.episodes.rating import RATINGS_NAME, Rating, iter_ratings
from ...environments.runs.settings import EngineSettings
from ...policies.base import close_policy
from ...policies.registry import make_policy
from ...policies.safety import DISCLAIMER

if TYPE_CHECKING:
    from .judge import Tally

COMPARISONS_NAME = "comparisons.jsonl"


class JudgeSettings(EngineSettings):
    """Settings of `warmline judge`."""

    rubric: str | None = Field(
        None, description="rubric by name (response, dialogue) or path; default response, or"
        " dialogue with --against"
    )  # fmt: skip
    dimensions: tuple[str, ...] = Field((), description="only these dimensions of the rubric")
    samples: Annotated[int, Field(ge=1)] = Field(1, description="answers to each question")
    contexts: Annotated[int, Field(ge=1)] | None = Field(
        None, description="judge a seeded sample of this many replies (or conversations)"
    )
    concurrency: Annotated[int, Field(ge=1)] = Field(8, description="questions in flight")
    seed: int = Field(0, description="of the sample and the calls")
    rater: str | None = Field(None, description="the judge's name in the ratings")
    against: str | None = Field(
        None, description="another run: ask which of two conversations is better, in both orders"
    )
    out: str | None = Field(
        None,
        description=f"file of ratings; default {RATINGS_NAME} (with --against:"
        f" {COMPARISONS_NAME}) beside the log",
    )


def register(app: typer.Typer) -> None:
    """Add the command."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    run = Annotated[Path, typer.Argument(help="A run's folder or a log file.")]
    config = Annotated[
        Path | None, typer.Option("--config", help="TOML file of settings; options come on top.")
    ]
    as_json = Annotated[bool, typer.Option("--json", help="The result as JSON.")]
    _judge.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("run", keyword, annotation=run),
            inspect.Parameter("config", keyword, default=None, annotation=config),
            inspect.Parameter("as_json", keyword, default=False, annotation=as_json),
            *options_of(JudgeSettings, panel="Judge"),
        ]
    )
    app.command("judge", help="Ask a judge about a log, which is not changed; resumes by itself.")(
        _judge
    )


def _judge(run: Path, config: Path | None, as_json: bool, **given: Any) -> None:
    from .pairwise import win_rates
    from .rubric import load_rubric
    from .tables import WIN_NOTE, published_notes, score_table, scores, win_table

    settings = read_settings(JudgeSettings, config, nested(given))
    if settings.policy is None:
        raise ConfigError("no judge is named", hint="give --policy, such as --policy openai")
    if settings.against and settings.contexts:
        raise ConfigError("--contexts draws from one run; with --against all pairs are compared")
    rubric = load_rubric(settings.rubric or ("dialogue" if settings.against else "response"))
    if settings.against and rubric.subject != "episode":
        raise ConfigError(
            f"whole conversations are compared, and rubric '{rubric.name}' is about replies",
            hint="leave --rubric out, or give one with subject = 'episode'",
        )
    out = _place(run, settings)
    errors = make_console(stderr=True)
    tallies: list[Tally] = []
    with Progress(
        TextColumn("verdicts"), MofNCompleteColumn(), console=errors, transient=True
    ) as progress:
        bar = progress.add_task("verdicts", total=None)

        def on_rating(_: Rating) -> None:
            progress.advance(bar)

        interrupted = run_interruptible(
            lambda stop: _ask(run, settings, rubric, out, tallies, on_rating, stop), errors.print
        )
    if interrupted is not None:
        errors.print(Text(str(interrupted), style="yellow"))
        raise typer.Exit(130)
    [tally] = tallies
    ratings = [
        r
        for r in (iter_ratings(out) if out.is_file() else ())
        if (r.rubric, r.rater) == (rubric.id, tally.rater)
        and (settings.against is None or r.candidate == _candidate(run, settings))
    ]
    if as_json:
        results = win_rates(ratings) if settings.against else scores(ratings)
        record = {"ratings": str(out), **tally.as_dict()}
        record["results"] = [dataclasses.asdict(each) for each in results]
        echo_json(json.dumps(record, ensure_ascii=False))
    else:
        console = make_console()
        if settings.against:
            console.print(win_table(win_rates(ratings)), Text(WIN_NOTE, style="dim"), sep="\n")
        else:
            console.print(score_table(scores(ratings), rubric.name), published_notes(rubric.name))
        console.print(told(tally, out), Text(DISCLAIMER, style="dim"), sep="\n")
    if tally.failed:
        raise typer.Exit(1)


async def _ask(
    run: Path,
    settings: JudgeSettings,
    rubric: Any,
    out: Path,
    tallies: list[Any],
    on_rating: Any,
    stop: Any,
) -> None:
    from .judge import draw_subjects, judge
    from .pairwise import compare, episode_pairs

    policy = make_policy(settings.policy or "", **settings.policy_options())
    how: dict[str, Any] = {
        name: getattr(settings, name)
        for name in ("dimensions", "samples", "concurrency", "seed", "rater")
    }
    how |= {"out": out, "sampling": settings.sampling(), "observe": on_rating, "stop": stop}
    try:
        if settings.against:
            pairs = list(episode_pairs(read_episodes(run), read_episodes(settings.against)))
            if not pairs:
                raise ConfigError(
                    f"no conversation of {run} has a partner in {settings.against}",
                    hint="partners have the same id: let both runs play the same scenarios",
                )
            how["candidate"] = _candidate(run, settings)
            tallies.append(await compare(pairs, policy, rubric, **how))
        else:
            only = None
            if settings.contexts:
                only = draw_subjects(iter_episodes(run), rubric, settings.contexts, settings.seed)
            tallies.append(await judge(iter_episodes(run), policy, rubric, only=only, **how))
    finally:
        await close_policy(policy)


def _candidate(run: Path, settings: JudgeSettings) -> str:
    return f"{run} against {settings.against}"


def _place(run: Path, settings: JudgeSettings) -> Path:
    if settings.out is not None:
        return Path(settings.out)
    folder = run if run.is_dir() else run.parent
    return folder / (COMPARISONS_NAME if settings.against else RATINGS_NAME)


def told(tally: "Tally", out: Path) -> Text:
    """What was asked, found, missing, and where it is."""
    unreadable = sum(tally.unreadable.values())
    text = f"{tally.asked} asked, {tally.resumed} there already, {unreadable} unreadable -> {out}"
    if unreadable:
        text += (
            "\nwhat the judge answered instead of the JSON asked for is in that file: notes.answer"
        )
    if tally.failed:
        errors = "; ".join(f"{what} ({count})" for what, count in tally.errors.most_common(3))
        text += f"\n{tally.failed} not answered, the same command asks them again: {errors}"
    return Text(text, style="yellow" if tally.failed or unreadable else "")
