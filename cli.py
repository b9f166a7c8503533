"""The command line: the application, its errors, and where its commands are.

Exit codes: 0 done; 1 something was not answered, or a bug; 2 a deliberate error, its message printed;
3 nothing came of it (every episode failed, every verdict was unreadable); 130, 143 and 129 stopped by
Ctrl-C, SIGTERM and SIGHUP, with what was open finished.
"""

# typer reads these annotations when the module is loaded, so they are not postponed
import errno
import os
import re
import shutil
import sys
import sysconfig
import warnings
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, TextIO

import typer
from rich.text import Text

from .core.errors import RunError, WarmlineError
from .core.outside.commands import Entry, Listing, lazy_group
from .core.outside.console import echo, make_console, never_fail_to_print
from .policies.safety import DISCLAIMER

COMMANDS: Listing = {
    "First steps": {
        "demo": Entry(
            "environments.runs.demo_command",
            "Show a written dialogue, then play four conversations of different kinds.",
        ),
        "doctor": Entry(
            "policies.doctor_command",
            "Report what is installed, which engines work here, and what to install for the others.",
        ),
        "chat": Entry(
            "evaluation.studies.web.command",
            "Talk with a supporter in the terminal, as the seeker. /end leaves; the talk is stored.",
        ),
        "presets": Entry(
            "training.reproduction.presets_command",
            "Whole settings by name, for a laptop and for a GPU: list, show or use one.",
        ),
        "init": Entry(
            "training.reproduction.presets_command",
            "Write a preset as a file of your own, to be changed and run.",
        ),
    },
    "Conversations": {
        "simulate": Entry(
            "environments.shards.command",
            "Simulate conversations into a run's folder; resumes automatically.",
        ),
        "show": Entry("environments.runs.show_command", "Print the conversations of a run."),
        "status": Entry(
            "environments.shards.run_commands",
            "How far a run is, and what its workers say; read from its folder.",
        ),
        "compact": Entry(
            "environments.shards.run_commands",
            "Make one log of the logs that a run's workers wrote.",
        ),
        "types": Entry(
            "environments.scenarios.command",
            "List the 45 problem types with their categories and published counts.",
        ),
    },
    "Corpora": {
        "build": Entry(
            "environments.corpus.generation.command",
            "Build a corpus: scenarios, profiles, conversations, cleaning, report.",
        ),
        "import": Entry(
            "environments.corpus.importing.command",
            "Import recorded dialogues as episodes, and report what was changed and left out.",
        ),
        "clean": Entry(
            "environments.corpus.cleaning.command",
            "Find what is unfit in a run's episodes; writes tags, deletes nothing.",
        ),
        "review": Entry(
            "environments.corpus.review.command",
            "Review a corpus with several experts; a dialogue is kept only if all approve.",
        ),
        "split": Entry(
            "environments.corpus.split_command",
            "Divide a corpus into sides; later commands take one as CORPUS:SIDE.",
        ),
        "analyze": Entry(
            "evaluation.analyses.command",
            "Analyse corpora: lengths, strategies, similarity, diversity, and what distinguishes"
            " them.",
        ),
        "export": Entry(
            "environments.corpus.exporting.command",
            "Export a corpus as a data set that the Hugging Face tools load as it is.",
        ),
    },
    "Training": {
        "train": Entry("training.command", "Train supporters, counselors and scorers."),
        "preview": Entry(
            "training.preview.command", "Print training rows; tokens with loss are coloured."
        ),
        "candidates": Entry(
            "training.fpemf.candidates_command",
            "Search a model's candidates and have them judged: helpful rates (FPEMF Table 4);"
            " resumes automatically.",
        ),
        "pairs": Entry(
            "training.preferences.command",
            "Make preference pairs of conversations (Self-Evolution §2.2.1); resumes"
            " automatically.",
        ),
        "evolve": Entry(
            "training.evolution.command",
            "Train a supporter on its own refined replies, in rounds (Self-Evolution); resumes"
            " automatically.",
        ),
        "checkpoints": Entry(
            "training.loop.checkpoints_command",
            "List checkpoints with what they were trained from, or merge or pack one.",
        ),
    },
    "Evaluation": {
        "evaluate": Entry(
            "evaluation.replies.command",
            "Score a policy's replies on a corpus; resumes automatically.",
        ),
        "judge": Entry(
            "evaluation.judging.command",
            "Ask a judge about a log, which is not changed; resumes automatically.",
        ),
        "selfplay": Entry(
            "evaluation.selfplay.command",
            "Play two supporters on the same scenarios and seeds, judge and compare them; resumes"
            " automatically.",
        ),
        "score": Entry(
            "training.scorer.score_command",
            "Rate every reply of a log on the scorer's dimensions; resumes automatically.",
        ),
        "helpful": Entry(
            "evaluation.judging.calibrate_command",
            "Show how many replies a scorer finds helpful, by dimension and on all (FPEMF Table 4).",
        ),
        "calibrate": Entry(
            "evaluation.judging.calibrate_command",
            "Compare a judge's or a scorer's ratings with people's: correlation, kappa, bias by"
            " length.",
        ),
        "harness": Entry(
            "evaluation.harness.command",
            "Score general ability with the lm-evaluation-harness, which fetches its own data.",
        ),
        "report": Entry(
            "evaluation.report.command",
            "Write one HTML page: numbers, figures and browsable conversations.",
        ),
    },
    "People and other programs": {
        "serve": Entry(
            "evaluation.studies.web.command",
            "Show a study with people in the browser: chat, ratings, comparisons, or a corpus's"
            " review.",
        ),
        "study": Entry(
            "evaluation.studies.web.command",
            "A study with people that `warmline serve` shows: where it stands, and what comes out.",
        ),
        "serve-policy": Entry(
            "environments.serving.command",
            "Serve a policy to other tools as an OpenAI-compatible server.",
        ),
    },
    "Papers": {
        "reproduce": Entry(
            "training.reproduction.command",
            "Run the whole loop of a preset, stage by stage; resumes automatically.",
        ),
        "tables": Entry(
            "evaluation.tables.command",
            "Print every table of a paper, ours beside theirs, from folders that other commands"
            " finished.",
        ),
    },
}
"""Every command. The module has `register(app)`, and imports nothing heavy when it is loaded."""

app = typer.Typer(
    name="warmline",
    help="Simulate, log, train on and evaluate emotional-support conversations between agents.",
    epilog=DISCLAIMER,
    cls=lazy_group(__package__, COMMANDS),
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"max_content_width": 100},
)


def main() -> None:
    """Entry point of the `warmline` command."""
    never_fail_to_print()
    warnings.showwarning = _show_warning
    os.environ.setdefault(
        "TQDM_DISABLE", "1"
    )  # bars of libraries, such as of converting a GGUF file
    sys.path.append(str(Path.cwd()))  # own policies, filters and importers lie where one works
    try:
        app()
    except (WarmlineError, OSError) as error:
        if isinstance(error, OSError):
            error = _file_error(error)
        said = as_called(f"error: {error}")
        make_console(stderr=True, soft_wrap=True).print(said, style="red")
        sys.exit(2)


def as_called(text: str) -> str:
    """Our commands in a message as they can be typed here: in a clone `warmline` is not on the path."""
    if shutil.which("warmline"):
        return text
    whole = Path(sys.argv[0]).name == "warmline"
    called = sys.argv[0] if whole else "python -m warmline.cli"
    names = "|".join(name for entries in COMMANDS.values() for name in entries)
    return re.sub(rf"\bwarmline (?=(?:{names})\b)", lambda _: f"{called} ", text)


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print our warnings as one line and those of a user's code as Python does.

    Those of libraries are for who works on them: `PYTHONWARNINGS=default` shows them too.
    """
    if category is UserWarning and Path(filename).is_relative_to(Path(__file__).parent):
        make_console(stderr=True, soft_wrap=True).print(Text(f"warning: {message}", style="yellow"))
    elif sys.warnoptions or not _of_a_library(filename):
        target = sys.stderr if file is None else file
        target.write(warnings.formatwarning(message, category, filename, lineno, line))


def _of_a_library(filename: str) -> bool:
    """Whether a file belongs to Python or to an installed package."""
    places = {sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")}
    return "site-packages" in filename or any(filename.startswith(place) for place in places)


def _file_error(error: OSError) -> RunError:
    """The error for a file or folder that the system refuses; any other fault stays as it is."""
    if error.filename is None and error.errno == errno.ENOSPC:
        never_fail_to_print(heard=False)
        return RunError("the output cannot be written: the disk is full", hint="free some space")
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


if __name__ == "__main__":
    main()
