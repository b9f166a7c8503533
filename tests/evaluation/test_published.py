"""The papers' figures are those of the papers' tables."""

from __future__ import annotations

import pytest

from warmline.evaluation.published import beside, published_tables, systems
from warmline.policies.errors import ConfigError


def test_figures_stand_in_their_columns() -> None:
    """Spot checks, one a table, at both ends of a row."""
    reference = systems("reference")
    assert reference["FPEMF Table 3: DKPE_FPEMF"]["strategy-accuracy"] == 35.54
    assert reference["FPEMF Table 3: DKPE_FPEMF"]["rouge-l"] == 19.24
    assert reference["FPEMF Table 3: GPT-4o"]["bleu-1"] == 15.42
    assert reference["SweetieChat Table 3: ServeForEmo"]["bertscore"] == 85.98
    assert reference["Self-Evolution Table 2: LLaMA-3-8B M2"]["distinct-3"] == 96.11
    assert systems("generated")["SweetieChat Table 3: ServeForEmo"]["bleu-2"] == 6.27
    on_own = systems("generated", "ServeForEmo")
    assert on_own["SweetieChat Table 7: both"]["bertscore"] == 88.59


def test_what_a_paper_leaves_out_is_not_there() -> None:
    assert "bleu-1" not in systems("reference")["FPEMF Table 3: KEMI"]
    assert "perplexity" not in systems("reference")["FPEMF Table 3: GPT-4o"]


def test_each_preset_has_its_own_company() -> None:
    assert list(beside("esconv", "reference")) == [
        "FPEMF Table 3: BBJ",
        "FPEMF Table 3: DKPE_FPEMF",
    ]
    assert all(name.startswith("SweetieChat") for name in beside("sweetiechat", "generated"))
    assert beside("sacrebleu", "reference") == {}
    chosen = beside("sacrebleu", "reference", chosen=("FPEMF Table 3: PAL",))
    assert chosen["FPEMF Table 3: PAL"]["distinct-2"] == 30.27
    with pytest.raises(ConfigError, match="did you mean 'FPEMF Table 3: PAL'"):
        beside("esconv", "reference", chosen=("FPEMF Table 3: PALL",))


def test_every_table_says_how_it_counts() -> None:
    assert all(table.convention and table.rows for table in published_tables())
