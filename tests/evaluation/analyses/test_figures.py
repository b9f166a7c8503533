"""The figures of an analysis: nothing is cut off, nothing hidden, nothing of an earlier one left."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from warmline.agents.colours import STRATEGY_COLOURS, contrast
from warmline.agents.roles import Strategy
from warmline.cli import app
from warmline.evaluation.analyses.analyse_files import analyse_files
from warmline.evaluation.analyses.analysis import Analysis
from warmline.evaluation.analyses.figures import (
    COLOURS,
    FIGURES,
    INK,
    _separation,
    _style,
    clear_figures,
)
from warmline.evaluation.analyses.profile import lengths

from ..corpora import episode, write_log

colors = pytest.importorskip("matplotlib.colors")
LONG = "a corpus with a long name, from the second of all the runs of November"
RUN = CliRunner()


@pytest.fixture(scope="module")
def analyses(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Analysis]:
    """Of one and three corpora with all strategies."""
    folder = tmp_path_factory.mktemp("corpora")
    paths = []
    for number in range(3):
        made = [
            episode(
                f"e{n}",
                [f"word{n} " * (3 + n % (2 + number)) for _ in range(16)],
                strategies=list(Strategy),
            )
            for n in range(6)
        ]
        paths.append(write_log(folder / str(number), made))
    return {
        count: analyse_files(
            [(f"{LONG} {n}" if n % 2 == 0 else f"run {n}", paths[n]) for n in range(count)]
        ).analysis
        for count in (1, 3)
    }


def figures_of(analysis: Analysis) -> dict[str, Any]:
    with _style():
        made = {name: draw(analysis) for name, draw in FIGURES.items()}
        made |= {f"s{n}": _separation(c) for n, c in enumerate(analysis.comparisons)}
        for figure in made.values():
            if figure is not None:
                figure.draw_without_rendering()
    return {name: figure for name, figure in made.items() if figure is not None}


@pytest.mark.parametrize("count", [1, 3])
def test_no_text_is_cut_off(analyses: dict[int, Analysis], count: int) -> None:
    made = figures_of(analyses[count])
    assert {"strategies", "strategies-over-progress", "lengths"} <= set(made)
    for name, figure in made.items():
        for text in texts_of(figure):
            box = text.get_window_extent()
            assert figure.bbox.x0 - 1 <= box.x0, f"{name}: {text.get_text()}"
            assert box.x1 <= figure.bbox.x1 + 1, f"{name}: {text.get_text()}"
            assert figure.bbox.y0 - 1 <= box.y0, f"{name}: {text.get_text()}"
            assert box.y1 <= figure.bbox.y1 + 1, f"{name}: {text.get_text()}"


def texts_of(figure: Any) -> list[Any]:
    """Titles, labels, names beside the axes and in legends; not numbers beyond an axis's limits."""
    texts = [text for legend in figure.legends for text in legend.get_texts()]
    for axes in figure.axes:
        texts += [axes.xaxis.label, axes.yaxis.label, axes._left_title, *axes.get_yticklabels()]
    found = [text for text in texts if re.search("[a-zA-Z]", text.get_text())]
    assert len(found) > 1
    return found


def test_the_legend_over_progress_names_every_strategy_in_its_colour(
    analyses: dict[int, Analysis],
) -> None:
    [legend] = figures_of(analyses[1])["strategies-over-progress"].legends
    drawn = {
        text.get_text(): colors.to_hex(patch.get_facecolor())
        for text, patch in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }
    assert drawn == {s.value: colour for s, colour in STRATEGY_COLOURS.items()}


def test_lengths_that_are_all_equal_are_drawn(analyses: dict[int, Analysis]) -> None:
    """Of 7 dialogues with 4 utterances each, bins of 2: half of 100 per cent for 4 and for 5."""
    [corpus] = analyses[1].corpora
    same = {"utterances_each": lengths(Counter({4: 7})), "seeker_words": lengths(Counter({5: 9}))}
    alike = dataclasses.replace(analyses[1], corpora=[dataclasses.replace(corpus, **same)])
    first, second, _ = figures_of(alike)["lengths"].axes
    for axes, low, high, value in ((first, 3.5, 5.5, 50.0), (second, 2.5, 5.5, 100 / 3)):
        [outline] = axes.patches
        assert outline.get_data().values == pytest.approx([value])
        assert list(outline.get_data().edges) == [low, high]
        box = outline.get_window_extent()
        assert box.width > 10
        assert box.height > 10
        assert axes.get_xlim()[0] <= low < high <= axes.get_xlim()[1]


def test_published_markers_show_on_every_bar(analyses: dict[int, Analysis]) -> None:
    """Face or edge differs from any bar by 3 to 1, which WCAG asks of graphics."""
    [axes] = figures_of(analyses[3])["strategies"].axes
    assert len(axes.lines) == 2
    for line in axes.lines:
        face, edge = (
            colors.to_hex(each) for each in (line.get_markerfacecolor(), line.get_markeredgecolor())
        )
        for bar in (*COLOURS, "#ffffff"):
            assert max(contrast(face, bar), contrast(edge, bar)) >= 3, (face, edge, bar)
        assert line.get_zorder() > max(bar.get_zorder() for bar in axes.patches)
    assert INK.lower() in {colors.to_hex(line.get_markerfacecolor()) for line in axes.lines}


def test_figures_of_an_earlier_analysis_are_taken_away(tmp_path: Path) -> None:
    """Two labelled corpora, then one without labels: no strategies, nothing to separate."""
    made = [episode(f"e{n}") for n in range(3)]
    one, two = write_log(tmp_path / "one", made), write_log(tmp_path / "two", made)
    bare = write_log(tmp_path / "bare", [episode(f"e{n}", strategies=(None,)) for n in range(3)])
    out = tmp_path / "out"
    analyse_files([one, two], out=out)
    before = {path.stem for path in (out / "figures").iterdir()}
    assert {"strategies", "separation-one-two"} <= before
    (out / "figures" / "mine.svg").write_text("<svg/>")
    found = analyse_files([bare], out=out)
    after = {path.stem for path in (out / "figures").iterdir()}
    assert after == {*found.figures, "mine"}
    assert not {"strategies", "separation-one-two"} & after
    run = RUN.invoke(app, ["analyze", str(one), "--out", str(out), "--no-figures"])
    assert run.exit_code == 0, run.output
    assert {path.stem for path in (out / "figures").iterdir()} == {"mine"}
    clear_figures(tmp_path / "nothing there")
