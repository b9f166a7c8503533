"""`warmline export`: a corpus as a data set with its card."""

# typer reads these annotations when the module is loaded, so they are not postponed
import inspect
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from ....core.options import config_parameter, nested, options_of
from ....core.outside.console import echo_json, make_console
from ....core.outside.progress import Counting
from ....core.settings import read_settings
from ....policies.safety import DISCLAIMER
from .settings import ExportSettings

READ = "dialogues read"


def register(app: typer.Typer) -> None:
    """Add the command."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    own = {
        "folder": Annotated[
            Path,
            typer.Argument(
                help="The corpus: a folder with episodes.jsonl, FOLDER:SIDE, or seeds (what ships)."
            ),
        ],
        "out": Annotated[Path, typer.Option("--out", help="Folder to make.")],
        "force": Annotated[bool, typer.Option("--force", help="Replace an earlier export.")],
        "as_json": Annotated[bool, typer.Option("--json", help="The report as one JSON object.")],
    }
    defaults = {"force": False, "as_json": False}
    parameters = [
        inspect.Parameter(
            name, keyword, default=defaults.get(name, inspect.Parameter.empty), annotation=kind
        )
        for name, kind in own.items()
    ]
    parameters += [config_parameter()]
    parameters += options_of(ExportSettings, panel="Data set")
    _export.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    app.command("export")(_export)


def _export(
    folder: Path, out: Path, config: Path | None, force: bool, as_json: bool, **given: Any
) -> None:
    from .export import export_corpus

    settings = read_settings(ExportSettings, config, nested(given))
    with Counting(make_console(stderr=True), READ) as counting:
        report = export_corpus(
            folder, out, settings, force=force, observe=lambda _: counting.add(READ)
        )
    if as_json:
        echo_json(report.model_dump_json())
        return
    table = Table("split", "dialogues", "rows", title=str(out))
    for split, rows in report.rows.items():
        table.add_row(split, str(report.dialogues[split]), str(rows))
    console = make_console()
    console.print(table)
    for reason, count in report.left_out.items():
        console.print(Text(f"left out: {count} {reason}"))
    conditions = ", ".join(report.licence.conditions) or "no conditions"
    console.print(Text(f"terms of the whole: {report.licence.id} ({conditions})"))
    console.print(Text(DISCLAIMER, style="dim"))
