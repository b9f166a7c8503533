"""The page: one HTML file with everything in it, which asks no network for anything.

Text of models goes in as data and comes out as text nodes; the page's own policy forbids any script
but ours and any request. Without JavaScript the tables and figures are still there.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, select_autoescape
from markupsafe import Markup

from ...agents.colours import STRATEGY_COLOURS, ink_on
from ...agents.roles import Strategy
from ...core.errors import ConfigError, RunError
from ...core.files import write_whole
from ...environments.episodes.episode import Episode
from ...environments.episodes.sides import heading_of, place_of
from ...policies.safety import CRISIS_GUIDANCE
from ..analyses.profile import disclaimer_of
from .appendix import Appendix, read_appendices
from .data import RunView, as_script, read_run
from .tables import Table, tables

REPORT_NAME = "report.html"


def write_report(
    runs: Sequence[str | Path],
    out: str | Path | None = None,
    *,
    ratings: Iterable[Path] = (),
    appendices: Sequence[str | Path] = (),
    title: str | None = None,
    observe: Callable[[Episode], None] | None = None,
) -> Path:
    """Write the page about one or several runs.

    Args:
        runs: run folders or log files; several are compared, a column each.
        out: the file; `report.html` in the first run's folder by default.
        ratings: files of ratings beyond those in the folders.
        appendices: folders with tables (Markdown) and figures (SVG) that other commands wrote.
        title: of the page; the runs' names by default.
        observe: called with each conversation as it is read.

    Returns:
        Where it was written.

    Raises:
        DataError: a run or appendix that cannot be read.
        RunError: the disk refuses, or `out` is a file that is not a page.
    """
    if not runs:
        raise ConfigError("a report needs at least one run", hint="warmline report runs/first")
    ratings = list(ratings)
    views = [
        read_run(path, name=name, ratings=ratings, observe=observe) for path, name in _named(runs)
    ]
    if out is None:
        out = place_of(runs[0]).folder / REPORT_NAME
    path = Path(out)
    _refuse_other_file(path)
    write_whole(path, render(views, title=title, appendices=read_appendices(appendices)))
    return path


def _refuse_other_file(path: Path) -> None:
    """Refuse to replace a file that is not a page."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    if start and not start.startswith(b"<!doctype html"):
        raise RunError(
            f"{path} is there already, and is not an HTML page",
            hint="choose another file for the page, such as report.html",
        )


def render(
    runs: Sequence[RunView], *, title: str | None = None, appendices: Sequence[Appendix] = ()
) -> str:
    """The page's text."""
    assets = files(__package__)
    script = assets.joinpath("report.js").read_text("utf-8")
    template = Environment(autoescape=select_autoescape(default=True)).from_string(
        assets.joinpath("report.html.jinja").read_text("utf-8")
    )
    data = {
        "runs": [{"name": run.name, "episodes": run.episodes} for run in runs],
        "strategies": [s.value for s in Strategy],
    }
    return template.render(
        title=title or " and ".join(run.name for run in runs),
        disclaimer=disclaimer_of(run.counts.stops for run in runs),
        guidance=CRISIS_GUIDANCE,
        crisis=sum(run.counts.crisis for run in runs),
        tables=[_with_markup(table) for table in tables(runs)],
        samples=[note for run in runs if (note := sample_note(run)) is not None],
        appendices=[
            {"title": each.title, "html": Markup(each.html), "figures": each.figures}  # noqa: S704
            for each in appendices
        ],
        style=Markup(assets.joinpath("report.css").read_text("utf-8") + strategy_style()),  # noqa: S704 - our own
        script=Markup(script),  # noqa: S704
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=Markup(as_script(data)),  # noqa: S704 - escaped there
    )


def strategy_style() -> str:
    """The rules that give each strategy its colour, as a bar and as a label."""
    return "".join(
        f".strategy-{number} {{ fill: {colour}; background: {colour}; color: {ink_on(colour)}; }}\n"
        for number, colour in enumerate(STRATEGY_COLOURS.values())
    )


def sample_note(run: RunView) -> str | None:
    """What the page says of a run whose conversations it does not all show."""
    if len(run.episodes) == run.conversations:
        return None
    return (
        f"Shown of {run.name}: a sample of {len(run.episodes):,} of {run.conversations:,}"
        " conversations, drawn by a hash of their ids. All numbers are over all conversations;"
        " `warmline show --id` prints any of them."
    )


def _with_markup(table: Table) -> dict[str, object]:
    return {
        "title": table.title,
        "head": table.head,
        "rows": table.rows,
        "note": table.note,
        "figure": Markup(table.figure),  # noqa: S704 - ours, its texts escaped
    }


def _named(runs: Sequence[str | Path]) -> list[tuple[Path, str]]:
    """A heading for each run: its name, with its parents' where two have the same."""
    paths = [Path(run) for run in runs]
    plain = [heading_of(place_of(path)) for path in paths]
    return [
        (path, name if plain.count(name) == 1 else "/".join(path.parts[-2:]))
        for path, name in zip(paths, plain, strict=True)
    ]
