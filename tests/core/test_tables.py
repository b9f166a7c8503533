"""The one Markdown table and the one terminal table."""

from __future__ import annotations

import io

import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from warmline.core.tables import markdown_table, number, plain_table


def test_text_cannot_leave_its_cell() -> None:
    text = markdown_table(("what", "n"), [("a | b\n| c |", 1), ("<b>", None)])
    html = MarkdownIt("commonmark", {"html": False}).enable("table").render(text)
    assert html.count("<tr>") == 3
    assert html.count("<td") == 4
    assert "<td>a | b | c |</td>" in html
    assert '<td style="text-align:right">-</td>' in html


def test_columns_of_text_are_aligned_to_the_left() -> None:
    assert markdown_table(("metric", "how"), [("bleu", "x")], numbers=False).splitlines() == [
        "| metric | how |",
        "| --- | --- |",
        "| bleu | x |",
    ]
    assert "| --- | --: | --: |" in markdown_table(("", "a", "b"), [])


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        markdown_table(("a", "b"), [("x",)])


def test_numbers() -> None:
    assert number(None) == "-"
    assert number(1234.567) == "1,234.57"
    assert number(0.1234, 1, scale=100) == "12.3"


def test_terminal_columns_do_not_wrap() -> None:
    table = plain_table("metric", "value", "how", left=("how",))
    table.add_row("a metric with a long name", "1.00", "a")
    out = io.StringIO()
    Console(file=out, width=80).print(table)
    assert [c.justify for c in table.columns] == ["left", "right", "left"]
    assert "a metric with a long name  1.00 a" in out.getvalue()


def test_without_room_names_are_wrapped_and_figures_stay_whole() -> None:
    """At 80 columns a path as the first cell had taken the places of the figures."""
    table = plain_table("rater", "of", "rate", "interval", "n", "missing", left=("of",))
    table.add_row("scorer:runs/an/experiment/with/a/long/path/06-scorer", "beams " * 6, "19.44",
                  "[8.04, 40.00]", "72", "0")  # fmt: skip
    out = io.StringIO()
    Console(file=out, width=80).print(table)
    lines = out.getvalue().splitlines()
    for figure in ("19.44", "[8.04, 40.00]", "72", "missing"):
        assert sum(figure in line for line in lines) == 1, out.getvalue()
    assert "…" not in out.getvalue()
    assert "06-scorer" in "".join(line.split(" ")[0] for line in lines)
