"""`warmline evaluate`: a policy's replies on a corpus, or given pairs, scored and printed.

Options are made from `EvaluationSettings`. The table has the convention beside each number, the
interval beside each mean and the papers' figures in the next columns.
"""

# typer reads these annotations when the module is loaded, so they are not postponed
import inspect
import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from ...core.errors import NOTHING_CAME, ConfigError
from ...core.options import config_parameter, nested, options_of
from ...core.outside.console import echo_json, make_console
from ...core.outside.progress import Counting
from ...core.settings import read_settings
from ...core.tables import plain_table
from .settings import EvaluationSettings, MetricSettings

EXAMPLE = "e.g. warmline evaluate runs/first --policy embedded --limit 2"
NOTHING_GIVEN = (
    "nothing to evaluate is named. `warmline evaluate CORPUS` has a policy (the embedded one, unless"
    " --policy says another) write every supporter reply of CORPUS anew from the same history, and"
    " compares it with what was said. That is one call for each reply, about ten for a dialogue, so the"
    " engine's speed says how long it takes: --limit 2 takes two dialogues and shows it. `warmline"
    " evaluate --pairs FILE` scores replies that are written already, in seconds"
)

HIDDEN = frozenset({("counselor.", "openings"), ("counselor.", "strategy")})
"""Options without a meaning for a counselor."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    corpus = Annotated[
        Path | None,
        typer.Argument(help="A run's folder, an episode log or FOLDER:SIDE: whose seekers answer."),
    ]
    pairs = Annotated[
        Path | None,
        typer.Option("--pairs", help="JSONL of hypothesis and reference, instead of a corpus."),
    ]
    as_json = Annotated[bool, typer.Option("--json", help="Scores as JSON.")]
    parameters = [
        inspect.Parameter("corpus", keyword, default=None, annotation=corpus),
        inspect.Parameter("pairs", keyword, default=None, annotation=pairs),
        config_parameter(),
        inspect.Parameter("as_json", keyword, default=False, annotation=as_json),
        *options_of(EvaluationSettings, hidden=HIDDEN, panel="Engine"),
    ]
    _evaluate.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    app.command("evaluate")(_evaluate)


def _evaluate(
    corpus: Path | None, pairs: Path | None, config: Path | None, as_json: bool, **given: Any
) -> None:
    if corpus is not None and pairs is not None:
        raise ConfigError("one thing is evaluated: a corpus, or --pairs FILE", hint=EXAMPLE)
    if corpus is None and pairs is None:
        raise ConfigError(NOTHING_GIVEN, hint=EXAMPLE)
    results = _of_pairs(pairs, config, given) if pairs else _of_corpus(corpus, config, given)
    if as_json:
        echo_json(json.dumps([result.as_dict() for result in results], ensure_ascii=False))
    else:
        _show(results, given.get("out"))
    if results and all(result.failed == result.replies > 0 for result in results):
        raise typer.Exit(NOTHING_CAME)


def _show(results: list[Any], out: Any) -> None:
    from .page import heading, notes

    console = make_console()
    for result in results:
        explained = "\n".join([*notes(result), ""])
        console.print(
            Text(heading(result), style="bold"), score_table(result), Text(explained, style="dim")
        )
    if out:
        errors = make_console(stderr=True)
        errors.print(Text(f"written: {out}/{{{', '.join(_written(Path(out)))}}}"))


def _written(folder: Path) -> list[str]:
    from .evaluate import TABLES_NAME
    from .reply import REPLIES_NAME, SCORES_NAME

    names = (SCORES_NAME, TABLES_NAME, REPLIES_NAME)
    return [name for name in names if (folder / name).is_file()]


def _of_pairs(path: Path, file: Path | None, given: dict[str, Any]) -> list[Any]:
    from .evaluate import evaluate_pairs

    chosen = nested(given)
    out = chosen.pop("out", None)
    if idle := sorted(chosen.keys() - MetricSettings.model_fields.keys()):
        raise ConfigError(
            f"with --pairs nothing is generated: {', '.join(idle)} would change nothing",
            hint="leave them out, or give a corpus instead of --pairs",
        )
    return [evaluate_pairs(path, read_settings(MetricSettings, file, chosen), out=out)]


def _of_corpus(corpus: Path | None, file: Path | None, given: dict[str, Any]) -> list[Any]:
    from .evaluate import evaluate

    settings = read_settings(EvaluationSettings, file, nested(given))
    errors = make_console(stderr=True)
    with Counting(errors, "replies") as counting:
        try:
            return evaluate(
                corpus or "",
                settings,
                observe=lambda _: counting.add("replies"),
                say=errors.print,
            )
        except KeyboardInterrupt:
            errors.print("stopped; the same command resumes it" if settings.out else "stopped")
            raise typer.Exit(130) from None


def score_table(result: Any) -> Table:
    """One setting's scores on the terminal; letters and numbers are explained below it."""
    from .page import COLUMNS, score_rows

    numbers = [str(number) for number, _ in enumerate(result.published, 1)]
    shown = plain_table(*COLUMNS, *numbers, left=("how",))
    for row in score_rows(result):
        shown.add_row(*map(Text, row))
    return shown
