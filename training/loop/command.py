"""What the commands of trainers share: options from settings, quiet libraries, a table."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...core.errors import MissingExtra
from ...core.options import nested, options_of
from ...core.outside.console import make_console
from ...core.record import Record
from ...core.settings import read_settings
from ...policies.safety import DISCLAIMER
from .distributed import is_first

R = TypeVar("R", bound=Record)


def add_trainer(
    app: typer.Typer, name: str, model: type[R], run: Callable[[R, Console], None], about: str
) -> None:
    """Add a sub-command that reads settings from a TOML file and options, and runs with them.

    Args:
        app: the sub-application.
        model: the settings.
        run: what to do; the disclaimer is printed after it.
        about: for the help.
    """
    file = Annotated[
        Path | None, typer.Argument(help="TOML file with settings; options override it.")
    ]

    def command(file: Path | None, **given: Any) -> None:
        console = make_console(quiet=not is_first())
        run(read_settings(model, file, nested(given)), console)
        console.print(Text(DISCLAIMER, style="dim"))

    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter(
                "file", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=file
            ),
            *options_of(model, panel="Settings"),
        ]
    )
    app.command(name, help=about)(command)


def need_libraries() -> None:
    """Refuse early, and by name, where the libraries of training are missing.

    Raises:
        MissingExtra: they are.
    """
    if any(find_spec(name) is None for name in ("torch", "transformers", "peft", "accelerate")):
        raise MissingExtra("training", extra="train")


def quiet_libraries() -> None:
    """No bars and hints of transformers' own between ours; its errors stay."""
    import warnings

    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()
    # it still sets automatically what it deprecates
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"transformers\..*")


def metrics_table(title: str, metrics: dict[str, str]) -> Table:
    """Names and values as a table."""
    table = Table("measure", "value", title=title)
    for name, value in metrics.items():
        table.add_row(name.replace("_", " "), value)
    return table
