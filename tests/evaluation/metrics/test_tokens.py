"""Tokens: the quick way and the library's way agree, token for token."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from warmline.evaluation.metrics.tokens import Mteval13aTokens, TreebankTokens, _punkt, _treebank

PIECES = st.sampled_from(
    [*"ab1.,'!?:;-()[]&%#*<>/$\"` «»’", "''", "``", "'s", "n't", "cannot", "gotta", "gimme", "lemme", "whaddya", "twas", "gonna", "'tis",
     "more'n", "--", "...", "wanna", "d'ye", "'ll", "mr.", "e.g.", "\n"]
    + [" "] * 12
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=24).map("".join))
@example("it is over. )")  # the final full stop is looked for behind the bracket
def test_words_are_nltks(text: str) -> None:
    from nltk.tokenize.destructive import NLTKWordTokenizer

    assert _treebank()(text) == NLTKWordTokenizer().tokenize(text)


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, max_size=24).map("".join))
def test_remembered_decisions_are_punkts(text: str) -> None:
    import punkt
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer

    model = punkt.load_model("english")
    learned = PunktParameters()
    learned.abbrev_types, learned.collocations = model.abbrev_types, model.collocations
    learned.sent_starters = model.sent_starters
    learned.ortho_context.update(model.ortho_context)
    assert _punkt()(text) == PunktSentenceTokenizer(learned).tokenize(text)


def test_full_stops_are_read_as_punkt_reads_them() -> None:
    """`ok.` is one of its abbreviations, a number before a lower-case word ends no sentence."""
    cut = TreebankTokens()
    assert cut(["Ok. That sounds good."])[0] == ["ok.", "that", "sounds", "good", "."]
    assert cut(["I see. Don't!"])[0] == ["i", "see", ".", "do", "n't", "!"]
    assert cut([""])[0] == []


def test_13a_keeps_case_and_splits_punctuation() -> None:
    assert Mteval13aTokens()(["Don't stop, Ada."])[0] == ["Don't", "stop", ",", "Ada", "."]
