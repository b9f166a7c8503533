"""The command `warmline reproduce`."""

# typer reads these annotations when the module is loaded, so they are not postponed
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from ...core.outside.console import make_console
from ...policies.safety import DISCLAIMER


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "reproduce", help="Run the whole loop of a preset, stage by stage; resumes automatically."
    )(_reproduce)


def _reproduce(
    preset: Annotated[
        str, typer.Option(help="cpu, gpu, tiny, or the path of a TOML file with stages.")
    ] = "cpu",
    out: Annotated[
        Path, typer.Option(help="Folder of the reproduction; the same command resumes it.")
    ] = Path("runs/reproduce"),
    model: Annotated[str | None, typer.Option(help="Base model; default: the preset's.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the stages as commands; run nothing.")
    ] = False,
    until: Annotated[str | None, typer.Option(help="Stop after the stage of this name.")] = None,
) -> None:
    from .presets import read_preset
    from .reproduce import first_stages, plan, reproduce

    console = make_console()
    if dry_run:
        for step in first_stages(plan(read_preset(preset), out, model), until):
            minutes = (
                "" if step.stage.minutes is None else f", about {step.stage.minutes:g} minutes"
            )
            console.print(f"# {step.stage.about}{minutes}", soft_wrap=True)
            console.print(step.shown, soft_wrap=True)
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
