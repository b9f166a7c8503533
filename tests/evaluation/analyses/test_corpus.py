"""One pass over a corpus: what is counted, left out and sampled."""

from __future__ import annotations

import random
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from warmline import StopReason, Strategy
from warmline.agents.roles import Role
from warmline.core.errors import DataError
from warmline.environments.episodes.episode import Utterance
from warmline.evaluation import analyse
from warmline.evaluation.analyses.corpus import corpus_of, read_corpus
from warmline.evaluation.analyses.profile import interval_of, lengths, shares
from warmline.evaluation.analyses.text import diversity, openings, words

from ..corpora import episode, write_log


def test_counts_by_hand() -> None:
    """Words: seeker 8 and 7, supporter 8 and 6. Of four utterances, those at 1 and 3 fall in sixths
    1 * 6 // 4 = 1 and 3 * 6 // 4 = 4."""
    repairs = ((), ("sentence_cap",), (), ())
    counts = corpus_of([episode(repairs=repairs)], name="c").counts
    assert (counts.dialogues, counts.utterances) == (1, 4)
    assert counts.words[Role.SEEKER] == {8: 1, 7: 1}
    assert counts.words[Role.SUPPORTER] == {8: 1, 6: 1}
    assert counts.stops == {"judger": 1}
    assert counts.repairs == {"sentence_cap": 1}
    assert counts.strategies == {Strategy.QUESTION: 1, Strategy.REFLECTION: 1}
    assert counts.progress[1] == {Strategy.QUESTION: 1}
    assert counts.progress[4] == {Strategy.REFLECTION: 1}
    assert counts.distinct_strategies == {2: 1}


def test_an_utterance_with_two_labels_counts_for_both() -> None:
    both = (Strategy.INFORMATION, Strategy.OTHERS)
    said = Utterance(Role.SUPPORTER, "So.", "So.", strategy=both[0], labels=both)
    counts = corpus_of([episode().model_copy(update={"utterances": (said,)})], name="c").counts
    assert counts.strategies == dict.fromkeys(both, 1)
    assert shares(counts.strategies)["Information"] == 0.5


def test_without_labels_shares_are_missing_not_zero() -> None:
    counts = corpus_of([episode(strategies=(None,))], name="c").counts
    assert counts.unlabelled == 2
    assert set(shares(counts.strategies).values()) == {None}
    assert not counts.distinct_strategies


@pytest.mark.parametrize(("index", "total", "sixth"), [
    (0, 12, 0), (1, 12, 0), (2, 12, 1), (11, 12, 5), (0, 1, 0), (2, 3, 4),
])  # fmt: skip
def test_sixths(index: int, total: int, sixth: int) -> None:
    assert interval_of(index, total) == sixth


def test_lengths_of_a_histogram() -> None:
    """2, 2, 4, 8: mean 4, variance (4 + 4 + 0 + 16) / 4 = 6; median between 2 and 4."""
    found = lengths(Counter({8: 1, 2: 2, 4: 1}))
    assert (found.n, found.mean, found.median, found.p90) == (4, 4.0, 3, pytest.approx(6.8))
    assert lengths(Counter({2: 1, 10: 1})).median == 6
    drawn = np.random.default_rng(5).integers(0, 30, 101)
    many = lengths(Counter(drawn.tolist()))
    assert (many.p10, many.median, many.p90) == pytest.approx(np.quantile(drawn, (0.1, 0.5, 0.9)))
    assert found.sd == pytest.approx(6**0.5)
    assert lengths(Counter()).mean is None


def test_what_failed_is_left_out_unless_it_was_played_again() -> None:
    failed = [episode(name, stop=StopReason.ERROR) for name in ("e1", "e2")]
    corpus = corpus_of([*failed, episode("e1"), episode("e3", lines=())], name="c")
    assert (corpus.counts.dialogues, corpus.counts.failed, corpus.counts.empty) == (1, 1, 1)
    assert [dialogue.id for dialogue in corpus.sample] == ["e1"]


def test_the_sample_is_decided_by_ids_and_seed_and_not_by_order() -> None:
    episodes = [episode(f"e{number}") for number in range(60)]
    shuffled = random.Random(5).sample(episodes, 60)
    first = corpus_of(episodes, name="c", sample=10)
    assert first.sample == corpus_of(shuffled, name="c", sample=10).sample
    assert first.sample[:4] == corpus_of(shuffled, name="c", sample=4).sample
    assert first.sample != corpus_of(episodes, name="c", sample=10, seed=1).sample
    assert (first.counts.dialogues, first.whole) == (60, False)


def test_memory_does_not_grow_with_the_corpus() -> None:
    def peak(count: int) -> int:
        tracemalloc.start()
        corpus_of((episode(f"e{number}") for number in range(count)), name="c", sample=50)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(100)  # what is made once
    # pydantic keeps some thousand short strings (here the ids); a dialogue has more than 1,000 bytes
    assert peak(3_000) - peak(600) < 2_400 * 100


def test_what_a_source_does_not_say_is_missing() -> None:
    unsaid = {"problem_type": "unspecified", "situation": "unspecified"}
    corpus = corpus_of([episode(f"e{number}", **unsaid) for number in range(3)], name="c")
    assert {(d.problem_type, d.situation) for d in corpus.sample} == {("", "")}
    found = analyse([corpus]).corpora[0]
    assert (found.adherence.own, found.adherence.missing) == (None, 3)
    assert found.similarity_in_type.mean is None
    assert found.similarity_by_type == {}
    assert found.similarity.mean == pytest.approx(1)


def test_a_folder_without_dialogues_is_refused(tmp_path: Path) -> None:
    write_log(tmp_path / "run", [episode(stop=StopReason.ERROR)])
    with pytest.raises(DataError, match="no dialogue to analyse"):
        read_corpus(tmp_path / "run")


def test_distinct_by_hand() -> None:
    """Dialogues "a b a" and "b a": 5 words of which 2 differ; bigrams ab, ba, ba: 2 of 3 differ; one
    trigram. No bigram joins the two dialogues."""
    corpus = corpus_of([episode("1", ["a b", "a"]), episode("2", ["b a"])], name="c")
    found = diversity(corpus.sample)
    assert (found.dialogues, found.tokens) == (2, 5)
    assert found.distinct == pytest.approx({1: 40.0, 2: 200 / 3, 3: 100.0})
    assert diversity(corpus.sample, lambda text: []).distinct[1] is None


def test_words_keep_apostrophes_and_split_chinese() -> None:
    assert words("I'm SURE, don't you?") == ["i'm", "sure", ",", "don't", "you", "?"]
    assert words("难过 ok") == ["难", "过", "ok"]


def test_openings_ignore_marks_and_case() -> None:
    lines = ["x", "It sounds like rain.", "x", "“It sounds, like snow", "x", "...", "x", "Yes!"]
    found = openings(corpus_of([episode(lines=lines)], name="c").sample)
    assert found.replies == 3
    assert found.phrases == pytest.approx({"it sounds like": 2 / 3, "yes": 1 / 3})
