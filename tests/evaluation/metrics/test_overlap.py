"""Overlap and diversity: golden values, the libraries that define them, numbers worked by hand."""

from __future__ import annotations

import gzip
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from warmline.core.errors import ConfigError
from warmline.evaluation import score_overlap, score_pairs
from warmline.evaluation.metrics.diversity import CorpusDistinct, distinct
from warmline.evaluation.metrics.metric import known_metrics, make_metric, make_pairs
from warmline.evaluation.metrics.overlap import (
    bleu_of,
    bleu_rows,
    f_measure,
    gram_matches,
    lcs_length,
)
from warmline.evaluation.metrics.presets import preset_metrics
from warmline.evaluation.replies.settings import MetricSettings
from warmline.evaluation.statistics.uncertainty import mean_tally

from ..real_data import real_file

HYPOTHESES = [
    "I hear you. That sounds heavy!",
    "What happened on Monday?",
    "You could call your sister, maybe.",
    "ok",
    "Take care of yourself, and thank you for telling me.",
]
REFERENCES = [
    "I hear how heavy that is.",
    "What happened then?",
    "Maybe you could write to your sister.",
    "That is fine, thank you.",
    "Thank you for telling me about it.",
]


@pytest.mark.parametrize("name", ["generated", "mitigation"])
def test_the_golden_values_are_reproduced_from_raw_text(name: str) -> None:
    """A published system's replies; Distinct both as its code counts and in full."""
    file = real_file(f"metric_fixture/metric_fixture_{name}_data.json.gz")
    with gzip.open(file, "rt", encoding="utf-8") as text:
        data = json.load(text)
    hypotheses = [row["hyp"] for row in data["rows"]]
    references = [row["ref"] for row in data["rows"]]
    gold = data["gold_subset"]
    found = score_overlap(hypotheses, references)
    assert found == {
        key: pytest.approx(gold[key.replace("distinct", "dist")], abs=1e-6) for key in found
    }
    assert len(found) == 10
    pairs = make_pairs(hypotheses, references)
    words = preset_metrics("esconv")[0].tokenizer
    in_full = CorpusDistinct(words).measure(pairs)
    assert [f.value for f in in_full] == [
        pytest.approx(gold[f"dist_all_ngrams-{n}"], abs=1e-6) for n in (1, 2, 3)
    ]
    tokens, _ = pairs.tokens(words)
    assert tokens == [row["hyp_tokens"] for row in data["rows"]]


def test_bleu_agrees_with_nltk_and_with_sacrebleu() -> None:
    from nltk.translate.bleu_score import SmoothingFunction, corpus_bleu
    from sacrebleu.metrics.bleu import BLEU

    ours = score_overlap(HYPOTHESES, REFERENCES)
    words = preset_metrics("esconv")[0].tokenizer
    h, r = words(HYPOTHESES), words(REFERENCES)
    smooth = SmoothingFunction().method3
    for k in (1, 2, 3, 4):
        theirs = corpus_bleu([[x] for x in r], h, (1 / k,) * k, smoothing_function=smooth)
        assert ours[f"bleu-{k}"] == pytest.approx(100 * theirs, abs=1e-9)
    ours = score_overlap(HYPOTHESES, REFERENCES, "sacrebleu")
    for k in (1, 2, 3, 4):
        theirs = BLEU(max_ngram_order=k).corpus_score(HYPOTHESES, [REFERENCES]).score
        assert ours[f"bleu-{k}"] == pytest.approx(theirs, abs=1e-9)


words_of = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=9)


@settings(deadline=None)
@given(st.lists(st.tuples(words_of, words_of), min_size=1, max_size=6))
def test_bleu_agrees_with_nltk_on_any_tokens(pairs: list[tuple[list[str], list[str]]]) -> None:
    from nltk.translate.bleu_score import SmoothingFunction, corpus_bleu

    h, r = [a for a, _ in pairs], [b for _, b in pairs]
    rows = bleu_rows(h, r, floor=True).sum(axis=0)
    smooth = SmoothingFunction().method3
    for k in (1, 2, 3, 4):
        theirs = corpus_bleu([[x] for x in r], h, (1 / k,) * k, smoothing_function=smooth)
        assert float(bleu_of(rows, order=k)) == pytest.approx(100 * theirs, abs=1e-9)


@settings(deadline=None)
@given(st.lists(st.tuples(words_of, words_of), min_size=1, max_size=6))
def test_bleu_agrees_with_sacrebleu_on_any_tokens(
    pairs: list[tuple[list[str], list[str]]],
) -> None:
    from sacrebleu.metrics.bleu import BLEU

    h, r = [a for a, _ in pairs], [b for _, b in pairs]
    rows = bleu_rows(h, r, floor=False).sum(axis=0)
    for k in (1, 2, 3, 4):
        theirs = BLEU(max_ngram_order=k).corpus_score(
            [" ".join(x) for x in h], [[" ".join(x) for x in r]]
        )
        assert float(bleu_of(rows, order=k)) == pytest.approx(theirs.score, abs=1e-9)


def test_bleu_by_hand() -> None:
    """Hypothesis `a b c`, reference `a b d e`: p1 = 2/3, p2 = 1/2, brevity exp(1 − 4/3)."""
    rows = bleu_rows([["a", "b", "c"]], [["a", "b", "d", "e"]], floor=False).sum(axis=0)
    assert float(bleu_of(rows, order=2)) == pytest.approx(
        100 * math.exp(-1 / 3) * math.sqrt(2 / 3 / 2)
    )
    assert float(bleu_of(rows, order=4)) == 0  # it holds no 4-gram


def test_rouge_agrees_with_rouge_score() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=False)
    texts = [*HYPOTHESES, "naïve – 你好 B2B's", ""]
    others = [*REFERENCES, "naive B2B s", "nothing"]
    theirs = [scorer.score(r, h) for h, r in zip(texts, others, strict=True)]
    ours = score_overlap(texts, others, "sacrebleu")
    for mine, name in (("rouge-1", "rouge1"), ("rouge-2", "rouge2"), ("rouge-l", "rougeL")):
        mean = sum(row[name].fmeasure for row in theirs) / len(theirs)
        assert ours[mine] == pytest.approx(100 * mean, abs=1e-9)


def test_chrf_is_sacrebleus() -> None:
    from sacrebleu import corpus_chrf

    ours = score_overlap(HYPOTHESES, REFERENCES, "sacrebleu")["chrf"]
    assert ours == pytest.approx(corpus_chrf(HYPOTHESES, [REFERENCES]).score)


def test_unigram_f1_by_hand() -> None:
    """`a a b` and `a b b c`: shared a, b: P = 2/3, R = 2/4, F1 = 4/7. A second pair has 0."""
    found = score_overlap(["a a b", "x"], ["a b b c", "y"])
    assert found["f1"] == pytest.approx(100 * (4 / 7) / 2)
    assert found["length"] == 2


def test_rouge_l_by_hand() -> None:
    """LCS of `a b c d` and `b x d` is 2: P = 2/4, R = 2/3; beta 1.2: 2.44 P R / (R + 1.44 P)."""
    expected = 2.44 * 0.5 * (2 / 3) / (2 / 3 + 1.44 * 0.5)
    assert score_overlap(["a b c d"], ["b x d"])["rouge-l"] == pytest.approx(100 * expected)
    assert f_measure(2, 4, 3, 1.2) == pytest.approx(expected)
    assert f_measure(0, 0, 0) == 0


@settings(deadline=None)
@given(words_of, words_of)
def test_the_common_subsequence_is_the_textbook_one(a: list[str], b: list[str]) -> None:
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = (
                table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
            )
    assert lcs_length(a, b) == table[-1][-1]


def test_matches_are_clipped() -> None:
    """`the the the` finds `the` once in `the cat`."""
    assert gram_matches(["the"] * 3, ["the", "cat"]) == [1, 0, 0, 0]


def test_distinct_by_hand() -> None:
    """`a b a` and `a b`: 2 of 5 words; 2 of 3 pairs (ab, ba, ab). Without last ones: 2 of 3; 1 of 1.

    The last reply-final pair goes too: `a b a` leaves ab, `a b` leaves nothing.
    """
    texts = [["a", "b", "a"], ["a", "b"]]
    assert distinct(texts, 1) == pytest.approx(40)
    assert distinct(texts, 2) == pytest.approx(200 / 3)
    assert distinct(texts, 1, skip_last=True) == pytest.approx(200 / 3)
    assert distinct(texts, 2, skip_last=True) == 100
    assert distinct([["a"]], 2) is None


def test_distinct_is_whole_outside_the_esconv_preset() -> None:
    text = ["a b c d"]
    quirk, whole = score_overlap(text, text), score_overlap(text * 2, text * 2, "sacrebleu")
    assert quirk["distinct-1"] == 100
    assert whole["distinct-1"] == 50
    names = {s.metric: s.convention for s in score_pairs(text, text, resamples=0)}
    assert "last n-gram of each reply left out" in names["distinct-1"]


def test_missing_hypotheses_are_left_out_and_counted() -> None:
    gappy = score_pairs([HYPOTHESES[0], None, *HYPOTHESES[2:]], REFERENCES)
    dense = score_pairs([HYPOTHESES[0], *HYPOTHESES[2:]], [REFERENCES[0], *REFERENCES[2:]])
    assert [s.value for s in gappy] == [s.value for s in dense]
    assert {(s.n, s.missing) for s in gappy} == {(4, 1)}


def test_undefined_is_none_not_zero() -> None:
    assert score_overlap([""], ["something"])["distinct-1"] is None
    assert score_overlap([""], ["something"])["bleu-1"] == 0


@pytest.mark.parametrize(
    ("hypotheses", "references", "message"),
    [
        ([], [], "both lists are empty"),
        (["a"], ["a", "b"], "1 hypotheses but 2 references"),
        ([None, None], ["a", "b"], "all 2 hypotheses are missing"),
        ("a", ["a"], "hypotheses must be a list of texts, not one text"),
        ([["a"]], ["a"], "not a text"),
        (["a"], [None], r"references\[0\] is None"),
    ],
)
def test_texts_that_cannot_be_compared(
    hypotheses: object, references: object, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        score_overlap(hypotheses, references)


def test_presets_are_closed() -> None:
    with pytest.raises(ConfigError, match="did you mean 'esconv'"):
        score_overlap(["a"], ["a"], "escon")
    with pytest.raises(ConfigError, match="needs a tokenizer"):
        score_overlap(["a"], ["a"], "sweetiechat")
    with pytest.raises(ConfigError, match="does not take a tokenizer"):
        score_overlap(["a"], ["a"], "esconv", tokenizer="x")
    with pytest.raises(ConfigError, match="no tokenizer at 'nowhere'"):
        score_overlap(["a"], ["a"], "sweetiechat", tokenizer="nowhere")


def test_sweetiechat_counts_model_tokens_both_ways(tmp_path: object) -> None:
    """Two equal replies of three different tokens: each 100 % distinct, together 50 %."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({"[U]": 0, "I": 1, "hear": 2, "you": 3}, unk_token="[U]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[U]").save_pretrained(str(tmp_path))
    same = ["I hear you"] * 2
    scores = score_pairs(same, same, "sweetiechat", tokenizer=str(tmp_path))
    found = {score.metric: score for score in scores}
    assert found["distinct-1"].value == pytest.approx(100)
    assert found["distinct-corpus-1"].value == pytest.approx(50)
    assert found["length"].value == 3
    assert found["bleu-2"].value == pytest.approx(100)
    assert "tokens of" in found["bleu-2"].convention


class Exclamations:
    def measure(self, pairs):  # type: ignore[no-untyped-def]
        from warmline.evaluation import Measurement

        marks = mean_tally([float(text.count("!")) for text in pairs.hypotheses])
        return [Measurement("exclamations", marks, "'!' in a reply, mean", unit="")]


class Twice:
    def measure(self, pairs):  # type: ignore[no-untyped-def]
        return [*Exclamations().measure(pairs), *Exclamations().measure(pairs)]


def test_a_metric_of_ones_own_stands_beside_ours() -> None:
    metric = make_metric("tests.evaluation.metrics.test_overlap:Exclamations")
    scores = score_pairs(HYPOTHESES, REFERENCES, metrics=[metric])
    assert scores[-1].metric == "exclamations"
    assert scores[-1].value == pytest.approx(1 / 5)
    assert scores[-1].interval is not None


def test_our_own_metrics_come_through_the_door() -> None:
    assert {"bertscore", "chrf", "meteor", "rouge"} <= set(known_metrics())
    for name, first in (("meteor", "meteor-exact-stem"), ("chrf", "chrf"), ("rouge", "rouge-1")):
        (found, *_) = make_metric(name).measure(make_pairs(["a b"], ["a b"]))
        assert found.metric == first


def test_settings_name_metrics_with_their_options() -> None:
    spec = {"name": "bertscore", "model": "folder", "layer": 3}
    plain, scored = MetricSettings(metrics=("chrf", spec)).further()
    assert type(plain).__name__ == "ChrF"
    assert (scored.model, scored.layer) == ("folder", 3)


def test_wrong_metrics_are_refused() -> None:
    with pytest.raises(ConfigError, match="no metric named 'blue'"):
        make_metric("blue")
    with pytest.raises(ConfigError, match="no class or function 'Nothing'"):
        make_metric("tests.evaluation.metrics.test_overlap:Nothing")
    with pytest.raises(ConfigError, match="unknown option 'depth'"):
        make_metric("tests.evaluation.metrics.test_overlap:Exclamations", depth=3)
    with pytest.raises(ConfigError, match="no method measure"):
        make_metric("builtins:dict")
    with pytest.raises(ConfigError, match="figures named exclamations"):
        score_pairs(["a"], ["a"], metrics=[Twice()])


def test_every_score_names_its_convention() -> None:
    for preset in ("esconv", "sacrebleu"):
        for score in score_pairs(HYPOTHESES, REFERENCES, preset, resamples=0):
            assert score.convention
            assert score.n == 5


def test_intervals_hold_the_value_and_draw_whole_dialogues() -> None:
    """Ten copies of five replies as five dialogues are no more certain than the five alone."""
    alone = score_pairs(HYPOTHESES, REFERENCES, groups=list("abcde"))
    copies = score_pairs(HYPOTHESES * 10, REFERENCES * 10, groups=list("abcde") * 10)
    loose = score_pairs(HYPOTHESES * 10, REFERENCES * 10)
    for one, ten, free in zip(alone, copies, loose, strict=True):
        if one.metric not in ("length", "f1", "rouge-l"):
            continue  # smoothing makes BLEU depend on size; Distinct has no interval
        assert one.interval.low <= (one.value or 0) <= one.interval.high
        assert ten.interval.groups == 5
        assert np.isclose(one.interval.low, ten.interval.low)
        width = ten.interval.high - ten.interval.low
        assert free.interval.high - free.interval.low < width
