"""The papers' figures are those of the papers' tables."""

from __future__ import annotations

import pytest

from warmline.core.errors import ConfigError
from warmline.core.published import (
    beside,
    published_cell,
    published_rows,
    published_sizes,
    published_tables,
    refuse_unknown,
    systems,
)
from warmline.evaluation import load_rubric


def test_figures_stand_in_their_columns() -> None:
    """Spot checks, one a table, at both ends of a row."""
    reference = systems("reference")
    assert reference["FPEMF Table 3: DKPE_FPEMF"]["strategy-accuracy"] == 35.54
    assert reference["FPEMF Table 3: DKPE_FPEMF"]["rouge-l"] == 19.24
    assert reference["FPEMF Table 3: GPT-4o"]["bleu-1"] == 15.42
    assert reference["SweetieChat Table 3: ServeForEmo"]["bertscore"] == 85.98
    assert reference["Self-Evolution Table 2: LLaMA-3-8B M2"]["distinct-3"] == 96.11
    assert systems("generated")["SweetieChat Table 3: ServeForEmo"]["bleu-2"] == 6.27
    assert systems("generated")["SweetieChat Table 7: both"]["bertscore"] == 85.64
    on_own = systems("generated")["SweetieChat Table 7, ServeForEmo: both"]
    assert on_own["bertscore"] == 88.59
    assert published_rows("SweetieChat Table 6")["ExTES"]["distinct-3"] == 24.95
    assert published_rows("SweetieChat Table 2")["ServeForEmo"]["Others"] == 6.06
    assert published_rows("FPEMF Table 3")["BBJ"]["bleu-2"] == 7.02
    assert published_sizes()["EmoCare"]["words a seeker utterance"] == 14.49
    assert published_sizes()["ServeForEmo"]["utterances"] == 62_863
    assert systems("helpful")["FPEMF Table 4b: DKPE_FPEMF"]["topic"] == 74.65
    assert systems("dialogue")["SweetieChat Table 5: ServeForEmo"]["safety"] == 5
    assert systems("response")["Self-Evolution Table 7: M2"]["overall"] == 3.22


FIGURES = {
    ("FPEMF Table 2", "sizes"): 20,  # 2 corpora, 10 figures
    ("FPEMF Table 3", "reference"): 162,  # 19 rows of 9, less 9 dashes (KEMI 5, PAL 2, the APIs 2)
    ("FPEMF Table 4a", "helpful"): 32,  # 8 models, 4 dimensions
    ("FPEMF Table 4b", "helpful"): 32,
    ("SweetieChat Table 1", "sizes"): 20,
    ("SweetieChat Table 2", "strategies"): 16,
    ("SweetieChat Table 3", "generated"): 35,  # 5 models, 7 metrics
    ("SweetieChat Table 3", "reference"): 35,
    ("SweetieChat Table 5", "dialogue"): 7,
    ("SweetieChat Table 5, variance", "variance"): 7,
    ("SweetieChat Table 6", "diversity"): 9,
    ("SweetieChat Table 7", "generated"): 32,  # 4 trainings, 8 metrics
    ("SweetieChat Table 7, ServeForEmo", "generated"): 32,
    ("Self-Evolution Table 1", "sizes"): 15,  # 3 corpora, 5 figures
    ("Self-Evolution Table 2", "reference"): 105,  # 3 backbones, 5 models, 7 metrics
    ("Self-Evolution Table 3", "reference"): 12,
    ("Self-Evolution Table 4", "ability"): 30,  # 5 models, 5 tasks and the average
    ("Self-Evolution Table 5", "reference"): 28,  # M0 and 3 variants of 2 rounds, 4 metrics
    ("Self-Evolution Table 6", "reference"): 36,  # 3 backbones, 3 rounds, 4 metrics
    ("Self-Evolution Table 7", "response"): 21,  # 3 models, 7 dimensions
    ("Self-Evolution Table 7, r", "calibration"): 7,
}
"""Figures that the papers print, counted in their tables. Not counted: the changes in per cent of
Self-Evolution Tables 5 and 6, which are computed."""

SPREADS = {("SweetieChat Table 3", "generated"): 35, ("SweetieChat Table 3", "reference"): 35}
"""Figures with ± that they print."""


def test_no_published_figure_is_missing() -> None:
    ours = {
        (table.name, table.setting): sum(map(len, table.rows.values()))
        for table in published_tables()
    }
    assert ours == FIGURES
    spreads = {
        (table.name, table.setting): sum(map(len, table.spread.values()))
        for table in published_tables()
        if table.spread
    }
    assert spreads == SPREADS
    for table in published_tables():
        for system, spread in table.spread.items():
            assert spread.keys() == table.rows[system].keys()


def test_the_ablations_of_fpemf_stand_in_their_columns() -> None:
    rows = published_rows("FPEMF Table 3")
    assert sum("w/o" in system for system in rows) == 8
    assert list(rows["BBJ w/o FPE"].values()) == [
        *(21.43, 15.97, 20.57, 8.42, 4.32, 2.49, 3.12, 20.37, 17.85)
    ]
    assert list(rows["DKPE w/o MF"].values()) == [
        *(32.50, 15.50, 20.50, 9.10, 4.60, 2.70, 4.50, 25.50, 18.00)
    ]


def test_a_figure_is_printed_with_the_spread_of_its_own_setting() -> None:
    name = "SweetieChat Table 3: ServeForEmo"
    for setting, printed in (("generated", "6.27±0.05"), ("reference", "6.76±0.08")):
        assert published_cell(name, "bleu-2", systems(setting)[name]) == printed
        assert published_cell(name, "meteor", systems(setting)[name]) == "-"
    plain = systems("reference")["FPEMF Table 3: PAL"]
    assert published_cell("FPEMF Table 3: PAL", "distinct-2", plain) == "30.27"


def test_shares_sum_to_one_hundred() -> None:
    for shares in published_rows("SweetieChat Table 2").values():
        assert sum(shares.values()) == pytest.approx(100, abs=0.03)


@pytest.mark.parametrize("rubric", ["dialogue", "response"])
def test_published_scores_are_of_the_rubrics_dimensions(rubric: str) -> None:
    ours = {dimension.name for dimension in load_rubric(rubric).dimensions}
    assert all(figures.keys() == ours for figures in systems(rubric).values())


def test_what_a_paper_leaves_out_is_not_there() -> None:
    assert "bleu-1" not in systems("reference")["FPEMF Table 3: KEMI"]
    assert "perplexity" not in systems("reference")["FPEMF Table 3: GPT-4o"]


def test_each_preset_has_published_systems_of_its_own() -> None:
    assert list(beside("esconv", "reference")) == [
        "FPEMF Table 3: BBJ",
        "FPEMF Table 3: DKPE_FPEMF",
    ]
    assert all(name.startswith("SweetieChat") for name in beside("sweetiechat", "generated"))
    assert beside("sacrebleu", "reference") == {}
    chosen = beside("sacrebleu", "reference", chosen=("FPEMF Table 3: PAL",))
    assert chosen["FPEMF Table 3: PAL"]["distinct-2"] == 30.27
    assert beside("sacrebleu", "generated", chosen=("FPEMF Table 3: PAL",)) == {}
    refuse_unknown(("FPEMF Table 3: PAL",), ["reference", "generated"])
    with pytest.raises(ConfigError, match="did you mean 'FPEMF Table 3: PAL'"):
        refuse_unknown(("FPEMF Table 3: PALL",), ["reference"])
    with pytest.raises(ConfigError, match="in generated context"):
        refuse_unknown(("FPEMF Table 3: PAL",), ["generated"])


def test_the_papers_agree_on_the_sizes_of_esconv() -> None:
    of_two = [published_rows(name)["ESConv"] for name in ("FPEMF Table 2", "SweetieChat Table 1")]
    assert of_two[0] == of_two[1]


def test_every_table_says_how_it_counts() -> None:
    assert all(table.convention and table.rows for table in published_tables())
