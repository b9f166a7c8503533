"""The one table of colours."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from warmline.agents.colours import STRATEGY_COLOURS, contrast, ink_on
from warmline.agents.roles import Strategy

ROOT = Path(__file__).parents[2]


def test_every_strategy_has_a_colour_of_its_own() -> None:
    assert list(STRATEGY_COLOURS) == list(Strategy)
    assert len(set(STRATEGY_COLOURS.values())) == len(Strategy)


def test_contrast_is_that_of_wcag() -> None:
    """21 of black on white, 1 of equals; 4.54 is the known figure of #767676 on white."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#d55e00", "#d55e00") == 1
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.005)


@pytest.mark.parametrize("strategy", Strategy)
def test_a_name_can_be_read_on_its_colour(strategy: Strategy) -> None:
    colour = STRATEGY_COLOURS[strategy]
    assert contrast(colour, ink_on(colour)) >= 4.5


def test_no_other_file_holds_a_table_of_its_own() -> None:
    """Half of the colours in one file would be a second table of strategies."""
    rooms = (ROOT / room for room in ("environments", "evaluation", "training"))
    files = [p for room in rooms for p in room.rglob("*") if p.suffix in (".py", ".css", ".js")]
    assert len(files) > 100
    for path in files:
        found = set(re.findall(r"#[0-9a-f]{6}\b", path.read_text("utf-8").lower()))
        own = path.name == "figures.py"  # of corpora
        assert own or len(found & set(STRATEGY_COLOURS.values())) < 4, path
