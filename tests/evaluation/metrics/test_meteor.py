"""METEOR is NLTK's, and its two forms never share a name."""

from __future__ import annotations

from pathlib import Path

import pytest
from nltk.translate.meteor_score import single_meteor_score

from warmline.core.errors import ConfigError
from warmline.evaluation.metrics.meteor import Meteor, _read_wordnet
from warmline.evaluation.metrics.metric import make_pairs

WORDS = [["i", "felt", "sad", "today", "."], ["walking", "helps", "me"]]
OTHERS = [["i", "feel", "sad", "."], ["a", "walk", "helped", "me", "today"]]


class Nothing:
    def synsets(self, word: str) -> list[object]:
        return []


def test_exact_and_stem_stages_are_nltks() -> None:
    pairs = make_pairs([" ".join(w) for w in WORDS], [" ".join(o) for o in OTHERS])
    (found,) = Meteor().measure(pairs)
    expected = [
        single_meteor_score(o, w, wordnet=Nothing()) for w, o in zip(WORDS, OTHERS, strict=True)
    ]
    assert found.metric == "meteor-exact-stem"
    assert found.value.value == pytest.approx(100 * sum(expected) / 2)


def test_meteor_by_hand() -> None:
    """`a b` against `a c b`: P = 1, R = 2/3, F = P R / (0.9 P + 0.1 R) = 0.6897; two chunks of two

    matches: penalty 0.5 · 1³.
    """
    (found,) = Meteor().measure(make_pairs(["a b"], ["a c b"]))
    assert found.value.value == pytest.approx(100 * 0.5 * (2 / 3) / (0.9 + 0.1 * 2 / 3))


def test_synonyms_need_a_wordnet_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no WordNet in .*lexnames, index.sense"):
        Meteor(tmp_path)


def test_synonyms_match_where_wordnet_has_them(tmp_path: Path) -> None:
    """A WordNet of one set, {glad, upbeat}, written by hand in Princeton's format."""
    folder = write_wordnet(tmp_path)
    assert _read_wordnet(folder).synsets("upbeat")
    (with_them,) = Meteor(folder).measure(make_pairs(["i am glad"], ["i am upbeat"]))
    (without,) = Meteor().measure(make_pairs(["i am glad"], ["i am upbeat"]))
    assert (with_them.metric, without.metric) == ("meteor", "meteor-exact-stem")
    assert with_them.value.value > without.value.value
    assert "WordNet" in with_them.convention


def write_wordnet(folder: Path) -> Path:
    empty = ["index.sense", "index.adv", "index.verb", "index.noun", "data.adv", "data.verb",
             "data.noun", "adj.exc", "adv.exc", "noun.exc", "verb.exc", "cntlist.rev"]  # fmt: skip
    for name in empty:
        (folder / name).write_text("")
    (folder / "lexnames").write_text("00\tadj.all\t3\n")
    (folder / "data.adj").write_text("00000000 00 a 02 glad 0 upbeat 0 000 | showing joy  \n")
    (folder / "index.adj").write_text("glad a 1 0 1 0 00000000  \nupbeat a 1 0 1 0 00000000  \n")
    return folder
