"""The command line: the application, its errors, and the modules that bring its commands.

Exit codes: 0 done; 1 something was not answered, or a bug; 2 a deliberate error, its message printed;
3 nothing came of it (every episode failed, every verdict was unreadable); 130, 143 and 129 stopped by
Ctrl-C, SIGTERM and SIGHUP, with what was open finished.
"""

# typer reads these annotations when the module is loaded, so they are not postponed
import sys
import warnings
from importlib import import_module
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.text import Text

from .core.errors import RunError, WarmlineError
from .core.outside.console import echo, make_console, never_fail_to_print
from .policies.safety import DISCLAIMER

app = typer.Typer(
    name="warmline",
    help="Simulate, log, train on and evaluate emotional-support conversations between agents.",
    epilog=DISCLAIMER,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def main() -> None:
    """Entry point of the `warmline` command."""
    never_fail_to_print()
    warnings.showwarning = _show_warning
    sys.path.append(str(Path.cwd()))  # own policies, filters and importers lie where one works
    try:
        app()
    except (WarmlineError, OSError) as error:
        if isinstance(error, OSError):
            error = _file_error(error)
        make_console(stderr=True, soft_wrap=True).print(f"error: {error}", style="red")
        sys.exit(2)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print our warnings as one line, and those of libraries as Python does."""
    if category is UserWarning and Path(filename).is_relative_to(Path(__file__).parent):
        make_console(stderr=True, soft_wrap=True).print(Text(f"warning: {message}", style="yellow"))
    else:
        target = sys.stderr if file is None else file
        target.write(warnings.formatwarning(message, category, filename, lineno, line))


def _file_error(error: OSError) -> RunError:
    """The error for a file or folder that the system refuses; any other fault stays as it is."""
    if error.filename is None:
        raise error
    return RunError(
        f"{error.filename}: {error.strerror}",
        hint="check the path, whether it may be written, and the space left on the disk",
    )


def _print_version(wanted: bool) -> None:
    if wanted:
        echo(f"warmline {installed_version('warmline')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Only holds `--version`, which acts when it is read."""


COMMANDS: tuple[str, ...] = (
    "environments.runs.command",
    "environments.runs.show_command",
    "environments.scenarios.command",
    "policies.doctor_command",
    "environments.corpus.generation.command",
    "environments.corpus.cleaning.command",
    "environments.corpus.exporting.command",
    "environments.corpus.importing.command",
    "environments.corpus.split_command",
    "environments.corpus.review.command",
    "evaluation.analyses.command",
    "evaluation.judging.calibrate_command",
    "evaluation.replies.command",
    "evaluation.judging.command",
    "evaluation.harness.command",
    "evaluation.report.command",
    "evaluation.selfplay.command",
    "training.loop.checkpoints_command",
    "training.evolution.command",
    "training.fpemf.candidates_command",
    "training.preferences.command",
    "training.preview.command",
    "training.reproduction.command",
    "training.scorer.score_command",
    "training.command",
)
"""Modules that bring commands: each has `register(app)` and imports nothing heavy."""

for _module in COMMANDS:
    import_module(f".{_module}", __package__).register(app)


if __name__ == "__main__":
    main()
