"""Help of the training commands: panels by what the options concern."""

from __future__ import annotations

from collections import Counter

import pytest

from warmline.core.options import options_of
from warmline.core.record import Record
from warmline.training import (
    CounselorSettings,
    DpoSettings,
    EvolveSettings,
    FpemfSettings,
    PairSettings,
    ScorerSettings,
    SftSettings,
)

MAX_OPTIONS = 20


@pytest.mark.parametrize(
    "settings",
    [
        SftSettings, CounselorSettings, ScorerSettings, FpemfSettings, DpoSettings, PairSettings,
        EvolveSettings,
    ],
)  # fmt: skip
def test_options_are_in_panels_of_readable_size(settings: type[Record]) -> None:
    """Every option is in the panel of the record that declares it; none is left without one."""
    options = [option.annotation.__metadata__[0] for option in options_of(settings, panel="?")]
    panels = Counter(option.rich_help_panel for option in options if not option.hidden)
    assert "?" not in panels
    assert {"Data and model", "Rows" if "template" in settings.model_fields else "Loop"} <= set(
        panels
    )
    assert max(panels.values()) <= MAX_OPTIONS
    assert next(iter(panels)) == "Data and model"
