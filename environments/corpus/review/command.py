"""`warmline review`: enrol a corpus, review it on the terminal, see where it stands, hand it on."""

# typer reads these annotations when the module is loaded, so they are not postponed
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ....core.errors import ConfigError
from ....core.files import write_whole
from ....core.outside.console import echo, echo_json, make_console
from ....policies.safety import DISCLAIMER
from ...episodes.log import log_files
from ...episodes.rating import RATINGS_NAME, append_ratings, iter_ratings
from ...episodes.sides import whole
from ..folder import cleaned_episodes
from .database import remove_store
from .review import REQUIRED_REVIEWERS, Verdict, agreement_items, decision_records, ratings_of
from .store import ReviewStore
from .terminal import review_one, shown

Folder = Annotated[Path, typer.Argument(help="The corpus: a folder with episodes.jsonl.")]
Reviewer = Annotated[str, typer.Option("--reviewer", help="Your name or pseudonym.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; a rejection needs one.")]
Version = Annotated[
    int | None, typer.Option("--version", help="The version you read; default: the current one.")
]

review = typer.Typer(
    name="review",
    help="Review a corpus with several experts; a dialogue is kept only if all approve.",
    epilog=DISCLAIMER,
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the command with its sub-commands."""
    app.add_typer(review)


@review.command()
def start(
    folder: Folder,
    required: Annotated[
        int, typer.Option(min=1, help="Experts who must all approve.")
    ] = REQUIRED_REVIEWERS,
    seed: Annotated[int, typer.Option(help="Of the reviewers' reading orders.")] = 0,
) -> None:
    """Enrol the corpus, or what was added to it; cleaning's tags are followed if present."""
    log_files(
        whole(folder, "a review")
    )  # before a store is made: a wrong path leaves nothing behind
    with ReviewStore(folder, create=True) as store:
        try:
            store.start(required=required, seed=seed)
            added = store.enrol(cleaned_episodes(folder))
        except BaseException:
            if not store.enrolled():
                remove_store(folder)  # half a start would pass for a review
            raise
        echo(f"{added} dialogues enrolled, {store.progress().dialogues} under review")
        echo(f"next: warmline review next {folder} --reviewer NAME")


@review.command("next")
def next_(
    folder: Folder,
    reviewer: Reviewer,
    approve: Annotated[str | None, typer.Option(metavar="ID", help="Approve and leave.")] = None,
    reject: Annotated[str | None, typer.Option(metavar="ID", help="Reject and leave.")] = None,
    skip: Annotated[str | None, typer.Option(metavar="ID", help="Put off and leave.")] = None,
    reason: Reason = "",
    version: Version = None,
    show: Annotated[bool, typer.Option("--show", help="Show the next one and leave.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The next one as JSON.")] = False,
) -> None:
    """Review: show, approve, reject, edit or skip, one dialogue after the other."""
    console = make_console()
    given = [name for name in (approve, reject, skip) if name is not None]
    if len(given) > 1 or (given and (show or as_json)):
        raise ConfigError("one thing at a time", hint="give one of --approve, --reject, --skip")
    with ReviewStore(folder) as store:
        if skip is not None:
            store.skip(skip, reviewer)
            echo(f"{skip}: put off")
        elif (decided := approve or reject) is not None:
            verdict = Verdict.APPROVE if approve is not None else Verdict.REJECT
            seen = store.item(decided).version if version is None else version
            where = store.decide(decided, reviewer, verdict, version=seen, reason=reason)
            echo(f"{decided}: {where.state}, {len(where.approved_by)} approve")
        elif show or as_json:
            item = store.next_item(reviewer)
            if as_json:
                echo_json(item.model_dump_json() if item else "null")
            else:
                console.print(shown(item) if item else "nothing left to review")
                console.print(Text(DISCLAIMER, style="dim"))
        else:
            _review_all(store, reviewer, console)


def _review_all(store: ReviewStore, reviewer: str, console: Console) -> None:
    console.print(Text(DISCLAIMER, style="dim"))
    while (item := store.next_item(reviewer)) is not None:
        if not review_one(store, reviewer, item, console):
            console.print("stopped; the same command goes on from here")
            return
    console.print("nothing left to review")


@review.command()
def edit(
    folder: Folder,
    episode: Annotated[str, typer.Argument(help="Id of the dialogue.")],
    utterance: Annotated[int, typer.Argument(help="Which one, from 0.")],
    text: Annotated[str, typer.Argument(help="What stands there from now on.")],
    reviewer: Reviewer,
    reason: Reason = "",
    version: Version = None,
) -> None:
    """Change one utterance; approvals of the text before no longer count."""
    with ReviewStore(folder) as store:
        seen = store.item(episode).version if version is None else version
        item = store.edit(episode, reviewer, utterance, text, version=seen, reason=reason)
        echo(f"{episode}: version {item.version}, pending")


@review.command()
def status(folder: Folder, as_json: AsJson = False) -> None:
    """Where the review stands: pending, approved, rejected, edited; decisions by reviewer."""
    with ReviewStore(folder) as store:
        progress = store.progress()
        if as_json:
            dialogues = [s.model_dump(mode="json") for s in store.standings()]
            echo_json(
                json.dumps(progress.model_dump() | {"standings": dialogues}, ensure_ascii=False)
            )
            return
        table = Table("dialogue", "state", "version", "approved by", "rejected by")
        for standing in store.standings():
            table.add_row(
                Text(standing.id),
                standing.state.value,
                str(standing.version),
                Text(", ".join(standing.approved_by)),
                Text("; ".join(f"{who}: {why}" for who, why in standing.rejected.items())),
            )
    console = make_console()
    console.print(table)
    states = ", ".join(f"{count} {state}" for state, count in progress.states.items())
    console.print(f"{progress.dialogues} dialogues: {states}; {progress.edited} edited,")
    console.print(f"{progress.crisis} with crisis language; {progress.required} must approve")
    for reviewer, count in progress.decisions.items():
        console.print(Text(f"{reviewer}: {count} decisions"))


@review.command("agreement")
def agreement_(folder: Folder, as_json: AsJson = False) -> None:
    """How far the reviewers agree: percent, Cohen's kappa by pair, Fleiss' kappa."""
    with ReviewStore(folder) as store:
        from .agreement import agreement

        found = agreement(agreement_items(store.decisions()))
    if as_json:
        echo_json(found.model_dump_json())
        return
    table = Table("measure", "value", "dialogues")
    table.add_row("percent", _number(found.percent), str(found.items))
    table.add_row("Fleiss' kappa", _number(found.fleiss), str(found.items))
    for pair, kappa in found.cohen.items():
        table.add_row(Text(f"Cohen's kappa, {pair}"), _number(kappa), str(found.common[pair]))
    console = make_console()
    console.print(table)
    console.print(f"{found.single} judged by one reviewer only, left out")


@review.command()
def apply(folder: Folder) -> None:
    """Write the decisions into ratings.jsonl, for training and evaluation; a repeat adds new ones."""
    path = folder / RATINGS_NAME
    with ReviewStore(folder) as store:
        wanted = ratings_of(store.decisions())
    known = {rating.to_json() for rating in iter_ratings(path)} if path.is_file() else set()
    fresh = [rating for rating in wanted if rating.to_json() not in known]
    append_ratings(path, fresh)
    echo(f"{len(fresh)} ratings added to {path}")


@review.command()
def export(
    folder: Folder,
    out: Annotated[Path | None, typer.Option(help="A file; default: print.")] = None,
) -> None:
    """Every dialogue's standing with all decisions and edits, before and after, as JSON lines."""
    with ReviewStore(folder) as store:
        records = decision_records(store.standings(), store.decisions())
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    if out is None:
        echo_json(lines, end="")
    else:
        write_whole(out, lines)
        echo(f"{len(records)} dialogues written to {out}")


def _number(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"
