"""The command `warmline clean`: filters over a folder, as a table or as JSON."""

# typer reads these annotations when the command is registered, so they are not postponed
import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ....core.options import config_parameter, nested, options_of
from ....core.outside.console import echo_json, make_console
from ....core.outside.progress import Counting
from ....core.settings import read_settings
from .settings import CleanSettings

if TYPE_CHECKING:
    from .fidelity import FidelityReport, Mean, Rate, SeekerFidelity
    from .report import CleaningReport

FIDELITY_NAME = "fidelity.json"


def register(app: typer.Typer) -> None:
    """Add the command; its options are the fields of `CleanSettings`."""
    kind = inspect.Parameter.KEYWORD_ONLY
    folder = Annotated[Path, typer.Argument(help="A run's folder.")]
    fidelity = Annotated[
        bool, typer.Option("--fidelity", help="Also report how true the seekers stayed.")
    ]
    as_json = Annotated[bool, typer.Option("--json", help="One JSON object.")]
    parameters = [
        inspect.Parameter("folder", kind, annotation=folder),
        config_parameter(),
        *options_of(CleanSettings, panel="Cleaning"),
        inspect.Parameter("fidelity", kind, default=False, annotation=fidelity),
        inspect.Parameter("as_json", kind, default=False, annotation=as_json),
    ]

    def clean(
        folder: Path, config: Path | None, fidelity: bool, as_json: bool, **given: Any
    ) -> None:
        _clean(folder, read_settings(CleanSettings, config, nested(given)), fidelity, as_json)

    clean.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    app.command("clean")(clean)


def _clean(folder: Path, settings: CleanSettings, fidelity: bool, as_json: bool) -> None:
    from ....core.files import write_whole
    from ...episodes.log import iter_episodes
    from . import clean_run
    from .fidelity import seeker_fidelity

    console = make_console()
    errors = make_console(stderr=True)
    with Counting(errors, "episodes examined") as counting:
        report = clean_run(folder, settings, progress=counting.reached("episodes examined"))
    seekers = None
    if fidelity:
        seekers = seeker_fidelity(iter_episodes(folder))
        write_whole(folder / FIDELITY_NAME, seekers.to_json())
    if as_json:
        record = {"cleaning": report.model_dump(mode="json")}
        if seekers:
            record["fidelity"] = seekers.model_dump(mode="json")
        echo_json(json.dumps(record, ensure_ascii=False))
        return
    _show_cleaning(console, folder, report)
    if seekers:
        _show_fidelity(console, seekers)


def _show_cleaning(console: Console, folder: Path, report: "CleaningReport") -> None:
    table = Table("filter", "asks to", "reason", "episodes", title=str(folder))
    for reason in report.reasons:
        table.add_row(reason.filter, reason.severity.value, reason.reason, str(reason.episodes))
    console.print(table)
    console.print(
        f"{report.episodes} episodes: {report.kept} kept ({report.trimmed} of them trimmed,"
        f" {report.flagged} flagged), {report.dropped} dropped. Nothing was deleted.",
        soft_wrap=True,
        highlight=False,
    )


def _show_fidelity(console: Console, report: "FidelityReport") -> None:
    groups = [report.overall, *report.policies]
    if len(report.policies) == 1:  # all and the one policy are the same
        groups = list(report.policies)
    table = Table("measure of the seeker", *(f"{g.policy} ({g.episodes})" for g in groups))
    table.title = "seeker fidelity, with 95 % intervals"
    for name in type(report.overall).model_fields:
        if name not in ("policy", "episodes"):
            table.add_row(name.replace("_", " "), *(_cell(group, name) for group in groups))
    console.print(table)


def _cell(group: "SeekerFidelity", name: str) -> str:
    value: Rate | Mean = getattr(group, name)
    share = value.share if hasattr(value, "share") else value.mean
    if share is None:
        return "not measurable"
    counted = f"{value.count} of {value.of}, " if hasattr(value, "count") else f"n {value.of}, "
    reach = "" if value.low is None else f" ({value.low:.3f} to {value.high:.3f})"
    return f"{counted}{share:.3f}{reach}"
