"""The papers' figures are those of the papers' tables."""

from __future__ import annotations

import pytest

from warmline.core.errors import ConfigError
from warmline.core.published import (
    beside,
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
