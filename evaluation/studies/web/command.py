"""`warmline serve`, `warmline study` and `warmline chat`: studies with people, and a talk in the terminal."""

# typer reads these annotations when the module is loaded, so they are not postponed
import json
import os
import secrets
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from ....core.errors import MissingExtra
from ....core.files import write_whole
from ....core.outside.console import echo, echo_json, make_console
from ....core.tables import plain_table
from ....policies.safety import DISCLAIMER

File = Annotated[Path, typer.Argument(help="The study's settings: study.toml.")]
Name = Annotated[str, typer.Argument(help="A participant's pseudonym, such as p-1a2b3c4d.")]

study = typer.Typer(
    name="study",
    help="A study with people that `warmline serve` shows: where it stands, and what comes out.",
    epilog=DISCLAIMER,
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(epilog=DISCLAIMER)(serve)
    app.command(epilog=DISCLAIMER)(chat)
    app.add_typer(study)


def serve(
    file: File,
    host: Annotated[
        str, typer.Option(help="Address to bind; others than this machine's need a secret and TLS.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8000,
) -> None:
    """Show a study with people in the browser: chat, ratings, comparisons, or a corpus's review."""
    from ..settings import load_study

    settings = load_study(file)
    try:
        from .serving import serve_study
    except ImportError as error:
        if error.name not in ("fastapi", "uvicorn", "starlette", "python_multipart", "multipart"):
            raise
        raise MissingExtra("serving a study", extra="web") from error
    secret = os.environ.get("WARMLINE_STUDY_SECRET")
    console = make_console(stderr=True)
    serve_study(
        settings,
        host=host,
        port=port,
        secret=secret or secrets.token_urlsafe(18),
        given=secret is not None,
        tell=lambda line: console.print(Text(line)),
    )


def chat(
    out: Annotated[Path, typer.Option(help="Folder; the talk is added to its log.")] = Path(
        "talks"
    ),
    policy: Annotated[str, typer.Option(help="The supporter's policy.")] = "embedded",
    model: Annotated[str | None, typer.Option(help="Its model, by name or path.")] = None,
    base_url: Annotated[str | None, typer.Option(help="Address of its server.")] = None,
    advised: Annotated[
        bool,
        typer.Option("--advised", help="Let a counselor on the same engine choose strategies."),
    ] = False,
    show_strategy: Annotated[
        bool, typer.Option("--show-strategy", help="Print the strategy of each reply.")
    ] = False,
    country: Annotated[str, typer.Option(help="Whose help lines are shown, such as GB.")] = "",
    max_exchanges: Annotated[int, typer.Option(min=1, help="Messages of yours.")] = 30,
    seed: Annotated[int, typer.Option(help="Of the replies.")] = 0,
) -> None:
    """Talk with a supporter in the terminal, as the seeker. /end leaves; the talk is stored."""
    from ....core.tasks import run_sync
    from ....environments.runs.settings import RoleSettings
    from ..chat import talk
    from ..settings import StudySettings

    engine = RoleSettings(policy=policy, model=model, base_url=base_url)
    settings = StudySettings(
        title="chat",
        kind="chat",
        out=str(out),
        seed=seed,
        models={"supporter": engine},
        counselor=engine if advised else None,
        country=country,
        max_exchanges=max_exchanges,
    )
    episode = run_sync(talk(settings, show_strategy=show_strategy))
    if episode is None:
        echo("nothing was said, and nothing is stored")
    else:
        echo(f"stored as '{episode.id}' in {out}: {len(episode.utterances)} utterances")


@study.command()
def results(file: File) -> None:
    """Write ratings.jsonl, raters.jsonl, episodes.jsonl and preferences.jsonl; print the numbers."""
    from ..results import write_results
    from ..tables import tables_of

    settings, opened = _opened(file)
    with opened:
        written = write_results(opened, settings)
        tables = tables_of(opened, settings)
    console = make_console()
    for each in tables:
        table = plain_table(*each.head)
        table.title = each.title
        for row in each.rows:
            table.add_row(*map(Text, row))
        console.print(table, Text(each.note, style="dim"), sep="\n")
    echo(
        f"{written.ratings} ratings, {written.episodes} episodes, {written.preferences} preference"
        f" pairs in {settings.folder}"
    )
    for what, counts in (("not counted", written.not_counted), ("no pair", written.not_shared)):
        if counts:
            echo(f"{what}: " + ", ".join(f"{count} {name}" for name, count in counts.items()))


@study.command()
def status(
    file: File, as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False
) -> None:
    """Tasks by status, items, and every participant's work and checks."""
    from ..participants import Participants
    from ..quality import Quality
    from ..tasks import Tasks

    settings, opened = _opened(file)
    with opened:
        tasks = Tasks(opened, settings)
        reports = Quality(opened, settings, tasks).report(Participants(opened))
        progress = tasks.progress()
        items = [row["id"] for row in opened.rows("SELECT id FROM items ORDER BY place")]
        alarms = opened.rows("SELECT COUNT(*) AS n FROM alarms")[0]["n"]
    if as_json:
        found: dict[str, Any] = {"tasks": progress, "items": items, "alarms": alarms}
        found["raters"] = [each.model_dump(mode="json") for each in reports]
        echo_json(json.dumps(found, ensure_ascii=False))
        return
    table = plain_table(
        "participant", "stage", "tasks", "median s", "failed checks", "different values"
    )
    for each in reports:
        done = ", ".join(f"{n} {name}" for name, n in each.tasks.items())
        took = "" if each.seconds is None else f"{each.seconds:.0f}"
        values = f"{each.distinct} of {each.answers}"
        table.add_row(each.name, each.stage, done, took, str(each.failed), values)
    if reports:
        make_console().print(table)
    else:
        echo("nobody has joined yet")
    echo("tasks: " + ", ".join(f"{count} {name}" for name, count in progress.items()))
    echo(f"items: {', '.join(items[:20])}{' ...' if len(items) > 20 else ''}")
    if alarms:
        echo(f"crisis language was found {alarms} times; the owner's page lists them")


@study.command()
def export(
    file: File,
    participant: Name,
    out: Annotated[Path | None, typer.Option(help="A file; default: print.")] = None,
) -> None:
    """All that is stored of one participant, as JSON."""
    from ..participants import Participants

    _, opened = _opened(file)
    with opened:
        people = Participants(opened)
        found = people.everything(people.by_name(participant))
    text = json.dumps(found, ensure_ascii=False, indent=2) + "\n"
    if out is None:
        echo_json(text, end="")
    else:
        write_whole(out, text)
        echo(f"written to {out}")


@study.command()
def forget(
    file: File,
    participant: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete all that is stored of one participant, and write the results anew without it."""
    from ..participants import Participants
    from ..results import write_results

    settings, opened = _opened(file)
    with opened:
        people = Participants(opened)
        who = people.by_name(participant)
        if not yes:
            typer.confirm(f"delete all that is stored of {who.name}?", abort=True)
        counts = people.forget(who)
        write_results(opened, settings)
    echo("deleted: " + ", ".join(f"{count} {table}" for table, count in counts.items()))
    echo("copies that were made of the results before still hold it")


def _opened(file: Path) -> Any:
    from ..database import StudyDatabase
    from ..settings import load_study

    settings = load_study(file)
    return settings, StudyDatabase(settings.folder)
