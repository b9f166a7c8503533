"""The figures of an analysis, as SVG and PNG in one style.

Colours are Okabe and Ito's, which colour-blind readers can distinguish; corpora also differ by
marker or line. A figure whose numbers are missing is not drawn.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...agents.colours import STRATEGY_COLOURS
from ...agents.roles import Strategy
from ...core.errors import MissingExtra, RunError
from ...core.published import published_strategy_shares
from .analysis import Analysis, Comparison, CorpusAnalysis
from .profile import Lengths
from .similarity import BINS

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#555555", "#F0E442")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))
MARKERS = ("D", "X")
INK, PALE = "#222222", "#D9D9D9"
STYLE: dict[str, Any] = {
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.labelcolor": INK,
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "grid.color": PALE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "warmline",
}
PNG_DPI = 160
SEPARATION = "separation-"
NAME_WIDTH, TITLE_WIDTH = 40, 26
"""Characters of a corpus's name on one line of a legend and of a panel's title."""


def clear_figures(folder: str | Path) -> None:
    """Take away what an earlier analysis drew there, and nothing else.

    Raises:
        RunError: the disk refuses.
    """
    for path in Path(folder).glob("*"):
        ours = path.stem in FIGURES or path.stem.startswith(SEPARATION)
        if ours and path.suffix in (".svg", ".png"):
            try:
                path.unlink()
            except OSError as error:
                raise RunError(f"{path}: {error.strerror}", hint="choose another folder") from error


def draw_figures(analysis: Analysis, folder: str | Path) -> list[str]:
    """Draw what the analysis holds; returns the names of the figures drawn, without suffix.

    Figures of an earlier analysis in that folder are taken away first.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    clear_figures(folder)
    drawn = []
    with _style():
        for name, draw in FIGURES.items():
            if (figure := draw(analysis)) is not None:
                _save(figure, folder / name)
                drawn.append(name)
        for comparison in analysis.comparisons:
            name = f"{SEPARATION}{_slug(comparison.a)}-{_slug(comparison.b)}"
            if (figure := _separation(comparison)) is not None:
                _save(figure, folder / name)
                drawn.append(name)
    return drawn


@contextmanager
def _style() -> Iterator[None]:
    try:
        import matplotlib as mpl
    except ImportError:
        raise MissingExtra("drawing figures", extra="eval") from None
    with mpl.rc_context(STYLE):
        yield


def _new(width: float, height: float, rows: int = 1, columns: int = 1, **options: Any) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # not pyplot: nothing global, no window

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path.with_name(f"{path.name}.svg"), metadata={"Date": None})
    figure.savefig(path.with_name(f"{path.name}.png"), dpi=PNG_DPI)


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")


def _wrapped(name: str, width: int) -> str:
    """A name in lines of so many characters, cut within a word only where it is longer."""
    return textwrap.fill(name, width) or name


def _legend_below(figure: Any, axes: Any) -> None:
    """A legend of all series in as many columns as the figure is wide enough for."""
    handles, labels = axes.get_legend_handles_labels()
    labels = [_wrapped(label, NAME_WIDTH) for label in labels]
    for columns in range(min(4, len(labels)), 0, -1):
        legend = figure.legend(handles, labels, loc="outside lower left", ncols=columns)
        figure.draw_without_rendering()
        if columns == 1 or legend.get_window_extent().x1 <= figure.bbox.x1:
            return
        legend.remove()


def _strategy_shares(analysis: Analysis) -> Any:
    corpora = [c for c in analysis.corpora if any(c.strategy_shares.values())]
    if not corpora:
        return None
    names = sorted(Strategy, key=lambda s: s.share)
    figure, [[axes]] = _new(7.5, 1.4 + len(names) * (0.28 + 0.16 * len(corpora)))
    thick = 0.8 / len(corpora)
    for number, corpus in enumerate(corpora):
        places = [
            place + (len(corpora) / 2 - number - 0.5) * thick for place, _ in enumerate(names)
        ]
        values = [100 * (corpus.strategy_shares[s.value] or 0) for s in names]
        axes.barh(places, values, thick * 0.92, color=COLOURS[number], label=corpus.name)
    for marker, (source, published) in zip(
        MARKERS, published_strategy_shares().items(), strict=True
    ):
        face, edge = ("white", INK) if marker == "D" else (INK, "white")
        axes.plot(
            [published[s.value] for s in names],
            range(len(names)),
            marker,
            markersize=7,
            markerfacecolor=face,  # with an edge that is its opposite, it shows on any bar
            markeredgecolor=edge,
            markeredgewidth=1.0,
            label=f"{source}, published",
            zorder=3,
        )
    axes.set_yticks(range(len(names)), [s.value for s in names])
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("per cent of strategy labels")
    axes.set_title("Which strategies supporters use")
    _legend_below(figure, axes)
    return figure


def _progress(analysis: Analysis) -> Any:
    corpora = [c for c in analysis.corpora if any(c.strategy_shares.values())]
    if not corpora:
        return None
    figure, panels = _new(max(5.6, 3.2 * len(corpora) + 0.8), 4.4, 1, len(corpora), sharey=True)
    for axes, corpus in zip(panels[0], corpora, strict=True):
        places = range(1, len(corpus.progress) + 1)
        bottom = [0.0] * len(corpus.progress)
        for strategy, colour in STRATEGY_COLOURS.items():
            values = [100 * (sixth[strategy.value] or 0) for sixth in corpus.progress]
            axes.bar(
                places, values, 0.86, bottom=bottom, color=colour, label=strategy.value,
                edgecolor="white", linewidth=0.6,
            )  # fmt: skip
            bottom = [low + value for low, value in zip(bottom, values, strict=True)]
        axes.set_title(_wrapped(corpus.name, TITLE_WIDTH))
        axes.set_xticks(list(places))
        axes.set_xlabel("sixth of the dialogue")
        axes.grid(visible=False)
        axes.set_ylim(0, 100)
    panels[0][0].set_ylabel("per cent of strategy labels")
    _legend_below(figure, panels[0][0])
    return figure


def _distinct_strategies(analysis: Analysis) -> Any:
    corpora = [c for c in analysis.corpora if c.distinct_strategies]
    if not corpora:
        return None
    figure, [[axes]] = _new(6.5, 3.6)
    numbers = range(1, len(Strategy) + 1)
    thick = 0.8 / len(corpora)
    for place, corpus in enumerate(corpora):
        axes.bar(
            [n + (place - (len(corpora) - 1) / 2) * thick for n in numbers],
            [100 * corpus.distinct_strategies.get(n, 0.0) for n in numbers],
            thick * 0.92,
            color=COLOURS[place],
            label=corpus.name,
        )
    axes.set_xticks(list(numbers))
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("distinct strategies in a dialogue")
    axes.set_ylabel("per cent of dialogues")
    axes.set_title("How many strategies a dialogue uses")
    _legend_below(figure, axes)
    return figure


def _similarities(analysis: Analysis) -> Any:
    kinds: list[tuple[str, int, Callable[[CorpusAnalysis], tuple[float, ...]]]] = [
        ("Between dialogues", 2, lambda c: c.similarity.histogram),
        ("Inside one problem type", 2, lambda c: c.similarity_in_type.histogram),
        ("Dialogue and its scenario", 5, lambda c: c.adherence.histogram),  # few: one a dialogue
    ]
    kinds = [kind for kind in kinds if any(kind[2](c) for c in analysis.corpora)]
    if not kinds:
        return None
    figure, panels = _new(3.4 * len(kinds) + 0.6, 3.6, 1, len(kinds))
    for axes, (title, wide, of) in zip(panels[0], kinds, strict=True):
        end = 0.0
        for number, corpus in enumerate(analysis.corpora):
            if fine := of(corpus):
                histogram = [sum(fine[at : at + wide]) / wide for at in range(0, BINS, wide)]
                places = [(at + wide / 2) / BINS for at in range(0, BINS, wide)]
                axes.plot(
                    places,
                    [100 * share for share in histogram],
                    color=COLOURS[number],
                    linestyle=LINES[number],
                    linewidth=1.6,
                    label=corpus.name,
                )
                end = max(end, *(p for p, share in zip(places, histogram, strict=True) if share))
        axes.set_xlim(0, min(1.0, end + 0.05))
        axes.set_ylim(bottom=0)
        axes.set_title(title)
        axes.set_xlabel("TF-IDF cosine")
    panels[0][0].set_ylabel("per cent for each 0.01")
    _legend_below(figure, panels[0][0])
    return figure


def _lengths(analysis: Analysis) -> Any:
    kinds: tuple[tuple[str, str, Callable[[CorpusAnalysis], Lengths], int], ...] = (
        ("Utterances a dialogue", "utterances", lambda c: c.utterances_each, 2),
        ("Seeker", "words an utterance", lambda c: c.seeker_words, 3),
        ("Supporter", "words an utterance", lambda c: c.supporter_words, 3),
    )
    figure, panels = _new(10.5, 3.6, 1, len(kinds))
    for axes, (title, label, of, wide) in zip(panels[0], kinds, strict=True):
        end = 0
        for number, corpus in enumerate(analysis.corpora):
            found = of(corpus)
            if not found.n:
                continue
            binned: dict[int, int] = {}
            for value, count in found.histogram.items():
                binned[value // wide] = binned.get(value // wide, 0) + count
            places = range(min(binned), max(binned) + 1)
            # an outline, which one bin alone has too
            axes.stairs(
                [100 * binned.get(place, 0) / found.n / wide for place in places],
                [place * wide - 0.5 for place in (*places, places[-1] + 1)],
                color=COLOURS[number],
                linestyle=LINES[number],
                linewidth=1.6,
                label=corpus.name,
            )
            end = max(end, math.ceil(2 * (found.p90 or 0)))
        axes.set_xlim(0, max(end, 1))
        axes.set_ylim(bottom=0)
        axes.set_title(title)
        axes.set_xlabel(label)
    panels[0][0].set_ylabel("per cent for each length")
    _legend_below(figure, panels[0][0])
    return figure


def _separation(comparison: Comparison) -> Any:
    found = [s for s in comparison.separation if s.delta is not None]
    if not found:
        return None
    found = sorted(found, key=lambda s: s.delta or 0.0)
    figure, [[axes]] = _new(7.5, 1.3 + 0.27 * len(found))
    for place, each in enumerate(found):
        colour = COLOURS[0] if each.separates else "#8A8A8A"
        if each.low is not None:
            axes.plot([each.low, each.high], [place, place], color=colour, linewidth=1.6)
        axes.plot(each.delta, place, "o" if each.separates else "s", color=colour, markersize=5)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(range(len(found)), [each.measure for each in found])
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(
        f"Cliff's delta with 95 % interval; to the right: higher in\n"
        f"{_wrapped(comparison.a, 2 * TITLE_WIDTH)}\n"
        "(blue, round: separates after Holm's correction)"
    )
    axes.set_title(_wrapped(f"{comparison.a} against {comparison.b}", 2 * TITLE_WIDTH))
    return figure


FIGURES: dict[str, Callable[[Analysis], Any]] = {
    "strategies": _strategy_shares,
    "strategies-over-progress": _progress,
    "distinct-strategies": _distinct_strategies,
    "similarity": _similarities,
    "lengths": _lengths,
}
