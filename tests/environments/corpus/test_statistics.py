"""Statistics: by hand on a small sample, exactly the known numbers on the real corpus."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from warmline.agents.roles import parse_strategy
from warmline.core.published import published_sizes
from warmline.environments.corpus.importing.reader import Import
from warmline.environments.corpus.statistics import (
    ROWS,
    comparison,
    comparison_markdown,
    corpus_statistics,
    strategy_shares,
)

from .samples import esconv, real, write

SCHEMAS = ("esconv_dev1070.jsonl.gz", "esconv_dev1070.original_schema.json.gz")


def test_by_hand(tmp_path: Path) -> None:
    """Words: seeker 1 + 4 + 2 + 2 + 1 + 2 = 12 in 6, supporter 2 + 6 + 4 + 4 + 5 + 8 + 1 = 30 in 7."""
    statistics = corpus_statistics(Import(write(tmp_path / "x.json", [esconv()])))
    assert statistics.to_dict() == {
        "dialogues": 1,
        "utterances": 13,
        "avg_dialogue_len": 13.0,
        "avg_utt_len": 3.2308,  # 42 / 13
        "seeker_utts": 6,
        "seeker_avg_len": 2.0,
        "supporter_utts": 7,
        "supporter_avg_len": 4.2857,  # 30 / 7
        "utts_per_dialogue_per_role": 6.0,
    }
    assert statistics.strategies["Question"] == 3
    assert strategy_shares(statistics.strategies)["Question"] == 42.86  # 3 / 7


def test_merging_and_trimming_by_hand(tmp_path: Path) -> None:
    """The recipe loses "Hello there." (2 words) and "Thanks, bye!" (2): 38 words in 8 turns."""
    path = write(tmp_path / "x.json", [esconv()])
    statistics = corpus_statistics(Import(path, recipe="sweetiechat"))
    assert (statistics.utterances, statistics.seeker_utts) == (8, 4)
    assert statistics.avg_utt_len == 4.75
    assert statistics.strategies["Question"] == 2  # two of three stood in one turn


def test_of_nothing_averages_are_missing() -> None:
    statistics = corpus_statistics(())
    assert (statistics.dialogues, statistics.avg_utt_len) == (0, None)
    assert strategy_shares(statistics.strategies) == {}
    assert comparison(statistics, "none")[4][1] == "none"


def test_the_table_has_the_published_columns(tmp_path: Path) -> None:
    statistics = corpus_statistics(Import(write(tmp_path / "x.json", [esconv()])))
    head, *rows = comparison(statistics, "mine")
    assert head[1:] == ("mine", *(f"{name} (published)" for name in published_sizes()))
    assert [row[0] for row in rows] == list(ROWS.values())
    assert rows[2] == ("Utterances a dialogue", "13.00", "22.54", "16.61", "16.73", "16.68")
    assert rows[1][-1] == "-"  # not printed of ExTES
    assert len(comparison_markdown(statistics, "mine").splitlines()) == 2 + len(ROWS)


def test_published_columns_agree_with_themselves() -> None:
    """Utterances are the seeker's and the supporter's; averages follow, but for one last digit."""
    whole = [sizes for sizes in published_sizes().values() if sizes.keys() == ROWS.keys()]
    assert len(whole) == 3
    for sizes in whole:
        numbers = [sizes[row] for row in ROWS]
        dialogues, utterances, average = numbers[:3]
        assert utterances == numbers[4] + numbers[7]
        assert average == pytest.approx(utterances / dialogues, abs=0.02)
        assert numbers[5] == pytest.approx(numbers[4] / dialogues, abs=0.02)
        assert numbers[8] == pytest.approx(numbers[7] / dialogues, abs=0.02)


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize(
    ("recipe", "key"),
    [("raw", "raw"), ("merged", "merged_untrimmed"), ("sweetiechat", "recipe")],
)
def test_real_esconv_has_the_known_numbers(schema: str, recipe: str, key: str) -> None:
    known = json.loads(real("esconv/esconv_dev1070.expected_stats.json").read_text())["dev1070"]
    importer = Import(real(f"esconv/{schema}"), recipe=recipe)
    assert corpus_statistics(importer).to_dict() == known[key]
    shares = strategy_shares(importer.report.tally.strategies)
    counted = {
        name: [count, shares[name]] for name, count in importer.report.tally.strategies.items()
    }
    assert counted == {str(parse_strategy(name)): n for name, n in known["strategies"].items()}
    assert not importer.report.unmapped_types
    assert importer.report.faulty == 0


def test_real_esconvs_schemas_give_the_same_words() -> None:
    hub, original = (Import(real(f"esconv/{name}"), limit=100) for name in SCHEMAS)
    assert [e.utterances for e in hub] == [e.utterances for e in original]


def test_real_merged_turns_carry_several_labels() -> None:
    importer = Import(real(f"esconv/{SCHEMAS[0]}"), recipe="sweetiechat")
    statistics = corpus_statistics(importer)
    share = importer.report.several_labels / statistics.supporter_utts
    assert share == pytest.approx(0.143, abs=0.002)


def test_real_failed_esconv_loads_whole() -> None:
    importer = Import(real("esconv/FailedESConv.json.gz"))
    statistics = corpus_statistics(importer)
    assert (statistics.dialogues, statistics.utterances) == (196, 5230)
    assert statistics.supporter_utts == importer.report.tally.strategies.total() == 2377
    assert importer.report.names == {"failed_esconv": 196}
    assert importer.report.dropped == {}
    assert not importer.report.tally.unmapped_labels


@pytest.mark.parametrize(
    ("file", "dialogues"),
    [
        ("empathetic_dialogues/ed_all24856.jsonl.gz", 500),
        ("smilechat/smilechat_sample2000.jsonl.gz", 500),
    ],
)
def test_real_files_of_other_formats_are_read(file: str, dialogues: int) -> None:
    importer = Import(real(file), limit=dialogues, strict=True)
    assert corpus_statistics(importer).dialogues == dialogues
    assert importer.format == Path(file).parts[0]
