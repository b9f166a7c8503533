"""What a stage can do: the functions behind some commands, by name, each with its settings record.

A stage is a name of `KINDS` and a table of settings. It can also be written as the command line of
that command, which is how the report shows it and how presets of earlier versions have it.
"""

from __future__ import annotations

import inspect
import shlex
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import AliasChoices, Field
from rich.markdown import Markdown

from ...core.errors import ConfigError, MissingExtra
from ...core.options import config_parameter, nested, option_words, options_of, read_options
from ...core.outside.console import make_console
from ...core.record import Record, Text
from ...core.settings import read_settings
from ...core.tasks import run_interruptible
from ...environments.corpus.generation.settings import BuildSettings
from ...environments.runs.settings import RunSettings
from ...evaluation.replies.settings import EvaluationSettings
from ...evaluation.tables.settings import PaperTablesSettings
from ..counselor.settings import CounselorSettings
from ..dpo.settings import DpoSettings
from ..evolution.settings import EvolveSettings
from ..fpemf.settings import CandidateRunSettings, FpemfSettings
from ..preferences.settings import PairSettings
from ..scorer.settings import ScorerSettings
from ..sft.settings import SftSettings


class AnalyzeSettings(Record):
    """An analysis of corpora, side by side; see `evaluation.analyse_files`."""

    corpora: tuple[str, ...] = Field(description="run folders or logs; NAME=PATH names a column")
    out: str | None = Field(None, description="folder of the analysis")
    limit: int = Field(
        20_000,
        ge=2,
        validation_alias=AliasChoices("limit", "sample"),  # as earlier versions stored it
        description="maximum dialogues of a corpus that are compared",
    )
    seed: int = Field(0, description="of samples and intervals")
    tokenizer: str | None = Field(None, description="folder of a tokenizer for Distinct")
    figures: bool = Field(True, description="draw figures")


class CorpusEvaluationSettings(EvaluationSettings):
    """An evaluation, with the corpus whose seekers are answered."""

    corpus: Text = Field(description="a run's folder or an episode log")


@dataclass(frozen=True, slots=True)
class Kind:
    """One thing that a stage can do.

    Attributes:
        words: of the command that does the same.
        settings: its record.
        run: does it, and prints what came out.
        argument: the field that the command takes without an option; empty if there is none.
        flags: options of the command that are about its output alone.
    """

    words: tuple[str, ...]
    settings: type[Record]
    run: Callable[[Any], None]
    argument: str = ""
    flags: tuple[str, ...] = ()


def run_stage(stage: tuple[str, Record]) -> None:
    """Do what a stage asks for: the name of a kind, and its settings."""
    name, settings = stage
    KINDS[name].run(settings)


def _simulate(settings: RunSettings) -> None:
    from ...environments.runs.simulate import simulate_settings

    _finish_open(lambda stop: simulate_settings(settings, stop=stop))


def _build(settings: BuildSettings) -> None:
    from ...environments.corpus.generation.build import build_corpus
    from ...environments.corpus.generation.report import BuildReport, as_markdown

    reports: list[BuildReport] = []
    console = make_console()

    async def work(stop: Any) -> None:
        reports.append(await build_corpus(settings, tell=console.print, stop=stop))

    _finish_open(work)
    console.print(Markdown(as_markdown(reports[0])))


def _analyze(settings: AnalyzeSettings) -> None:
    from ...evaluation.analyses.analyse_files import analyse_files

    corpora: list[str | tuple[str, str]] = []
    for each in settings.corpora:
        name, equals, path = each.partition("=")
        split = equals and not Path(each).exists()
        corpora.append((name, path) if split else each)
    found = analyse_files(corpora, **settings.model_dump(exclude={"corpora"}))
    make_console().print(found.page, soft_wrap=True)


def _evaluate(settings: CorpusEvaluationSettings) -> None:
    from ...evaluation.replies.evaluate import evaluate
    from ...evaluation.replies.page import page

    make_console().print(page(evaluate(settings.corpus, settings)), soft_wrap=True)


def _tables(settings: PaperTablesSettings) -> None:
    from ...evaluation.tables.make import make_tables

    make_console().print(make_tables(settings.paper, settings).page, soft_wrap=True)


def _candidates(settings: CandidateRunSettings) -> None:
    from ..fpemf.candidates_command import run

    run(settings, make_console())


def _train(method: str, settings: Any) -> None:
    """Call the function that the method's command calls."""
    import_module(f"..{method}.command", __package__).run(settings, make_console())


def _finish_open(work: Callable[[Any], Coroutine[Any, Any, Any]]) -> None:
    """Run to the end; an interrupt finishes open conversations first.

    Raises:
        Interrupted: it was interrupted.
    """
    interrupted = run_interruptible(work, make_console().print)
    if interrupted is not None:
        raise interrupted


KINDS: dict[str, Kind] = {
    "simulate": Kind(("simulate",), RunSettings, _simulate, flags=("quiet",)),
    "build": Kind(("build",), BuildSettings, _build, flags=("quiet", "json")),
    "analyze": Kind(("analyze",), AnalyzeSettings, _analyze, "corpora", ("json",)),
    "evaluate": Kind(("evaluate",), CorpusEvaluationSettings, _evaluate, "corpus", ("json",)),
    "tables": Kind(("tables",), PaperTablesSettings, _tables, "paper", ("json", "init")),
    "train_sft": Kind(("train", "sft"), SftSettings, partial(_train, "sft"), "data"),
    "train_counselor": Kind(
        ("train", "counselor"), CounselorSettings, partial(_train, "counselor"), "data"
    ),
    "train_scorer": Kind(("train", "scorer"), ScorerSettings, partial(_train, "scorer"), "data"),
    "train_fpemf": Kind(("train", "fpemf"), FpemfSettings, partial(_train, "fpemf"), "data"),
    "train_dpo": Kind(("train", "dpo"), DpoSettings, partial(_train, "dpo"), "data"),
    "candidates": Kind(("candidates",), CandidateRunSettings, _candidates, "data"),
    "pairs": Kind(("pairs",), PairSettings, partial(_train, "preferences"), "data"),
    "evolve": Kind(("evolve",), EvolveSettings, partial(_train, "evolution"), "data"),
}
"""By the name that a preset gives as `run`."""

EXTRAS = {"build": "data", "analyze": "eval", "evaluate": "eval"} | dict.fromkeys(
    (name for name in KINDS if name.startswith("train_") or name in ("candidates", "evolve")),
    "train",
)
"""What brings the libraries of a kind that needs more than the core."""

LIBRARIES = {
    "data": ("datasketch", "sklearn"),
    "eval": ("matplotlib", "nltk", "sacrebleu", "scipy", "sklearn"),
    "train": ("torch", "transformers", "peft", "accelerate"),
}
"""What stages load of an extra."""


def need_extras(names: Iterable[str]) -> None:
    """Refuse stages whose libraries are missing, all at once: some would come after hours.

    Args:
        names: of kinds.

    Raises:
        MissingExtra: names every extra that is missing.
    """
    extras = sorted({EXTRAS[name] for name in names if name in EXTRAS})
    missing = [x for x in extras if any(find_spec(each) is None for each in LIBRARIES[x])]
    if missing:
        raise MissingExtra("this reproduction", extra=",".join(missing))


# Command lines

EARLIER_OPTIONS = {"--dialogues": "--episodes", "--contexts": "--limit", "--sample": "--limit"}
"""What presets of earlier versions call an option."""


def read_command(text: str) -> tuple[str, dict[str, Any]]:
    """The kind and the settings of a command line, read by the command's own parser.

    Args:
        text: what follows `warmline`.

    Raises:
        ConfigError: no stage does what the command does, or options that cannot be used.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"'{text}' is not a command line: {error}") from None
    for name, kind in KINDS.items():
        size = len(kind.words)
        if tuple(words[:size]) == kind.words:
            return name, _settings_of(kind, words[size:])
    raise ConfigError(
        f"no stage runs the command '{text}'",
        hint=f"write run = one of {', '.join(KINDS)}, and its settings as a table",
    )


def _settings_of(kind: Kind, words: Sequence[str]) -> dict[str, Any]:
    present = [EARLIER_OPTIONS.get(word, word) for word in words]
    values = read_options(present, _parameters(kind))
    file = values.pop("config")
    for flag in kind.flags:
        values.pop(f"flag_{flag}")
    return read_settings(kind.settings, file, nested(values)).model_dump(exclude_unset=True)


def _parameters(kind: Kind) -> Iterator[inspect.Parameter]:
    """The parameters of a kind's command."""
    several = kind.argument and "tuple" in str(kind.settings.model_fields[kind.argument].annotation)
    yield config_parameter()
    if kind.argument and not several:
        yield _keyword(kind.argument, Annotated[str | None, typer.Argument()])
    for flag in kind.flags:
        yield _keyword(f"flag_{flag}", Annotated[bool | None, typer.Option(f"--{flag}")])
    if several:
        yield from options_of(kind.settings, bare=kind.argument)
    else:
        yield from options_of(kind.settings, hidden={("", kind.argument)})


def _keyword(name: str, annotation: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


def command_words(name: str, settings: Mapping[str, Any]) -> list[str]:
    """The command line of a stage, in words, without `warmline`."""
    kind = KINDS[name]
    given = {key: value for key, value in settings.items() if key != kind.argument}
    found = settings.get(kind.argument, ())
    argument = [found] if isinstance(found, str) else list(found)
    return [*kind.words, *argument, *option_words(given)]
