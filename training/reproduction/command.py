"""The command `warmline reproduce`."""

# typer reads these annotations when the module is loaded, so they are not postponed
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from ...core.outside.console import make_console
from ...policies.safety import DISCLAIMER

if TYPE_CHECKING:
    from .reproduce import Plan

DEFAULT_PRESET = "cpu"
OUT_HELP = "Folder; default: runs/NAME (of cpu runs/reproduce). The same command resumes it."


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("reproduce")(_reproduce)


def _reproduce(
    preset: Annotated[
        str | None,
        typer.Option(
            help="A preset of `warmline presets list`, or the path of a TOML file with stages. Without it"
            " the stages of cpu are told, and nothing is run."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help=OUT_HELP)] = None,
    model: Annotated[str | None, typer.Option(help="Base model; default: the preset's.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the stages as commands; run nothing.")
    ] = False,
    until: Annotated[str | None, typer.Option(help="Stop after the stage of this name.")] = None,
) -> None:
    if preset is None:
        reproduce_preset(DEFAULT_PRESET, out, model=model, dry_run=True, until=until)
        start = f"to run them: warmline reproduce --preset {DEFAULT_PRESET}"
        make_console().print(f"{start}; others: warmline presets list", soft_wrap=True)
        return
    reproduce_preset(preset, out, model=model, dry_run=dry_run, until=until)


def reproduce_preset(
    preset: str, out: Path | None, *, model: str | None, dry_run: bool, until: str | None
) -> None:
    """Run a preset into a folder, or with `dry_run` tell its stages; see `reproduce`.

    Args:
        out: the folder; None for that of the preset, `presets.folder_of`.
    """
    from .presets import folder_of, read_preset
    from .reproduce import first_stages, plan, reproduce

    out = out or folder_of(preset)
    console = make_console()
    if dry_run:
        _show(first_stages(plan(read_preset(preset), out, model), until), console)
        return
    try:
        page = reproduce(
            preset,
            out,
            model=model,
            until=until,
            say=lambda line: console.print(line, soft_wrap=True, highlight=False),
        )
    except KeyboardInterrupt:
        console.print("stopped; the same command resumes")
        raise typer.Exit(130) from None
    console.print(f"report: {page}", soft_wrap=True)
    console.print(Text(DISCLAIMER, style="dim"))


def _show(steps: Sequence["Plan"], console: Console) -> None:
    """The stages as commands, and how long they take on the hardware that the preset is for."""
    for step in steps:
        minutes = "" if step.stage.minutes is None else f", about {step.stage.minutes:g} minutes"
        console.print(f"# {step.stage.about}{minutes}", soft_wrap=True)
        console.print(step.shown, soft_wrap=True)
    total = sum(step.stage.minutes or 0 for step in steps)
    console.print(f"# {len(steps)} stages, about {total:.0f} minutes in all", soft_wrap=True)
