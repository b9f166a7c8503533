"""What the commands of trainers share: options from settings, quiet libraries, a table."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import typer
from pydantic import create_model
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ...core.claim import FreshFolder
from ...core.errors import ConfigError, Interrupted, MissingExtra
from ...core.options import config_parameter, nested, options_of
from ...core.outside.console import echo, make_console
from ...core.record import Record
from ...core.settings import read_settings
from ...policies.safety import DISCLAIMER
from ..launch.held import end_with_parent
from ..launch.launch import launched_here
from ..launch.settings import LaunchSettings
from .distributed import is_first
from .lock import refuse_trained

R = TypeVar("R", bound=Record)


def add_trainer(
    app: typer.Typer, name: str, model: type[R], run: Callable[[R, Console], None]
) -> None:
    """Add a sub-command that reads settings from options and `--config`, and runs with them.

    The data stand bare, as what any command works on does. With `--processes` or `--on` it starts
    processes that do the same together.

    Args:
        app: the sub-application.
        model: the settings.
        run: what to do; the disclaimer is printed after it.
    """

    both = _with_launch(model)

    def command(config: Path | None, **given: Any) -> None:
        dry_run = given.pop("dry_run")
        console = make_console(quiet=not is_first())
        whole: Any = read_settings(both, config, nested(given))
        own = whole.model_dump(
            mode="json",
            exclude_unset=True,
            exclude_none=True,
            exclude=set(LaunchSettings.model_fields),
        )
        settings = read_settings(model, None, own)
        if launched_here():
            end_with_parent()
        try:
            if launched_here() or not (whole.launched or dry_run):
                run(settings, console)
            else:
                _launch(name, settings, own, whole, console, dry_run=dry_run)
        except Interrupted as stopped:
            console.print(Text(f"{stopped}", style="yellow"), soft_wrap=True)
            raise typer.Exit(stopped.exit_code) from None
        console.print(Text(DISCLAIMER, style="dim"))

    dry_run = Annotated[
        bool, typer.Option("--dry-run", help="Show how processes would be started, and start none.")
    ]
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            config_parameter(),
            *options_of(
                both, bare="data", panel="Settings", hidden=frozenset({("slurm.", "at_once")})
            ),
            inspect.Parameter(
                "dry_run", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=dry_run
            ),
        ]
    )
    app.command(name)(command)


def add_asking(
    app: typer.Typer, name: str, model: type[R], run: Callable[[R, Console], None]
) -> None:
    """Add a command that makes what trainings learn from: as `add_trainer`, but its processes are
    workers of its own (`ShardSettings`), and do not train together."""

    def command(config: Path | None, **given: Any) -> None:
        console = make_console()
        run(read_settings(model, config, nested(given)), console)
        console.print(Text(DISCLAIMER, style="dim"))

    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [config_parameter(), *options_of(model, bare="data", panel="Settings")]
    )
    app.command(name)(command)


def _with_launch(model: type[Record]) -> type[Record]:
    """The settings and how processes are started, as one record."""
    bases: Any = (model, LaunchSettings)
    return cast("type[Record]", create_model(f"Launched{model.__name__}", __base__=bases))


def _launch(
    name: str, settings: Any, own: dict[str, Any], launch: LaunchSettings, console: Console, *,
    dry_run: bool,
) -> None:  # fmt: skip
    """Start the processes, or show how they would be."""
    from ...policies.models.sources import find_source
    from ..launch import launch as launching
    from ..rows.sources import open_episodes

    if not launch.launched:
        raise ConfigError(
            "--dry-run shows how processes are started, and this command starts none",
            hint="add --processes or --on slurm; `warmline preview` shows the rows",
        )
    folder = launching.out_of(settings, name)
    # what is not there is told before anything is started, or waits in a queue
    open_episodes(settings.data)
    if settings.model != "embedded":
        find_source(settings.model, merge=True)
    if dry_run:
        echo(launching.shown(name, folder, launch))
        return
    need_libraries()
    refuse_trained(folder)
    with FreshFolder(folder).unless_begun(launching.STARTED):
        if launch.on != "slurm":
            launching.run_here(name, launching.write_config(folder, own), launch)
            return
        launching.refuse_active(folder)
        job = launching.submit(name, launching.write_config(folder, own), launch)
    console.print(f"submitted: job {job}; {folder / launching.LOGS} has what it prints")


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
