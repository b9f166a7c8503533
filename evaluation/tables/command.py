"""`warmline tables`: every table of a paper, ours beside theirs, from finished folders.

Options are made from `TablesSettings`; `make.py` does the work.
"""

# typer reads these annotations when the module is loaded, so they are not postponed
import inspect
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from ...core.options import config_parameter, nested, options_of
from ...core.outside.console import echo, echo_json, make_console
from ...core.settings import read_settings
from ...policies.safety import DISCLAIMER
from .settings import CONFIG_NAME, TablesSettings


def register(app: typer.Typer) -> None:
    """Add the command."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    paper = Annotated[
        str,
        typer.Argument(
            help="fpemf, sweetiechat or self-evolution; or questions, which these leave open."
        ),
    ]
    init = Annotated[
        bool, typer.Option("--init", help=f"Write --config (default {CONFIG_NAME}) with all rows.")
    ]
    as_json = Annotated[bool, typer.Option("--json", help="The tables as JSON.")]
    _tables.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("paper", keyword, annotation=paper),
            config_parameter(),
            inspect.Parameter("init", keyword, default=False, annotation=init),
            inspect.Parameter("as_json", keyword, default=False, annotation=as_json),
            *options_of(TablesSettings, panel="Tables"),
        ]
    )
    app.command("tables")(_tables)


def _tables(paper: str, config: Path | None, init: bool, as_json: bool, **given: Any) -> None:
    from .make import first_tables_settings, make_tables

    console = make_console()
    if init:
        settings = read_settings(TablesSettings, None, nested(given))
        file = first_tables_settings(paper, config or CONFIG_NAME, settings)
        console.print(Text(f"written: {file}"))
        return
    settings = read_settings(TablesSettings, config, nested(given))
    made = make_tables(paper, settings)
    if as_json:
        echo_json(json.dumps(made.data, ensure_ascii=False))
        return
    echo(made.page)
    if settings.out is not None:
        console.print(Text(f"written: {settings.out}/{{{', '.join(made.files)}}}"))
    console.print(Text(DISCLAIMER, style="dim"))
