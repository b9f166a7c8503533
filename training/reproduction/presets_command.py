"""`warmline presets` and `warmline init`: whole settings of a paper's way, shown, run, or written."""

# typer reads these annotations when the module is loaded, so they are not postponed
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from ...core.errors import ConfigError
from ...core.files import write_whole
from ...core.outside.console import echo, make_console
from .command import OUT_HELP, reproduce_preset

Name = Annotated[str, typer.Argument(help="A preset of `warmline presets list`.")]

presets = typer.Typer(
    help="Whole settings by name, for a laptop and for a GPU: list, show or use one.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    """Add `presets` with its sub-commands, and `init`."""
    app.add_typer(presets, name="presets")
    app.command("init")(init)


@presets.command("list")
def list_() -> None:
    """Name every preset, what it is for, and how long it takes where that is known."""
    from .presets import known_presets, read_preset

    table = Table("preset", "stages", "minutes", "what")
    for name in known_presets():
        preset = read_preset(name)
        minutes = sum(stage.minutes or 0 for stage in preset.stages)
        shown = f"{minutes:.0f}" if minutes else "–"
        table.add_row(name, str(len(preset.stages)), shown, Text(preset.about))
    console = make_console()
    console.print(table)
    console.print(
        Text("-gpu: larger numbers for one GPU; give the model with --model", style="dim")
    )


@presets.command()
def show(name: Name) -> None:
    """Print a preset: a TOML file with a comment on every setting that is not plain."""
    from .presets import preset_text

    echo(preset_text(name), end="")


@presets.command()
def use(
    name: Name,
    out: Annotated[Path | None, typer.Option(help=OUT_HELP)] = None,
    model: Annotated[str | None, typer.Option(help="Base model; default: the preset's.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the stages as commands; run nothing.")
    ] = False,
    until: Annotated[str | None, typer.Option(help="Stop after the stage of this name.")] = None,
) -> None:
    """Run a preset, stage by stage, as `warmline reproduce --preset NAME` does."""
    reproduce_preset(name, out, model=model, dry_run=dry_run, until=until)


def init(
    name: Annotated[
        str, typer.Argument(help="A preset of `warmline presets list`.")
    ] = "sweetiechat",
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("warmline.toml"),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a preset as a file of your own, to be changed and run."""
    from .presets import preset_copy, read_preset, run_words

    text = preset_copy(name, out)
    command = run_words(out, read_preset(name))
    if (out.is_symlink() or out.exists()) and not force:
        raise ConfigError(f"{out} is there already", hint="--out FILE, or --force to replace it")
    write_whole(out, text)
    echo(f"wrote {out}, a copy of '{name}'; change it, and then:")
    echo(f"  {command} --dry-run   # what it would do")
    echo(f"  {command}             # does it; the same command resumes")
