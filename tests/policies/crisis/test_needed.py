"""The quick look before a pattern: it hides no match, and spares most patterns of a harmless text."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.texts import TEXTS
from warmline.policies.crisis import rules
from warmline.policies.crisis.folding import fold
from warmline.policies.crisis.needed import NeededWords, may_match, needed

from .sentences import sentences

LABELLED = [sentence.text for sentence in sentences()]
WORDS = sorted({word for text in LABELLED for word in text.split()})


def found(text: str, *, looked: bool) -> set[str]:
    """Every rule that matches, with and without the quick look."""
    with pytest.MonkeyPatch.context() as patch:
        if not looked:
            patch.setattr(rules, "may_match", lambda look, held: True)
        return {finding.rule for finding in rules.find_crisis(text)}


@pytest.mark.parametrize("part", range(4))
def test_every_labelled_sentence_is_found_by_the_same_rules(part: int) -> None:
    for text in LABELLED[part::4]:
        assert found(text, looked=True) == found(text, looked=False), text


@pytest.mark.parametrize("seed", range(4))
def test_every_mixture_of_their_words_is_found_by_the_same_rules(seed: int) -> None:
    """Halves of two sentences with a word between: what rules of one kind ask for, in any company."""
    draw = random.Random(seed)
    for _ in range(400):
        first, second = draw.choice(LABELLED), draw.choice(LABELLED)
        at, after = draw.randrange(len(first) + 1), draw.randrange(len(second) + 1)
        between = draw.choice([" ", "", ". ", "*", ", "]) + draw.choice(WORDS) + draw.choice(" *.,")
        text = first[:at] + between + second[after:]
        assert found(text, looked=True) == found(text, looked=False), text


@given(st.lists(st.sampled_from(WORDS) | TEXTS, max_size=30).map(" ".join))
def test_any_text_is_found_by_the_same_rules(text: str) -> None:
    assert found(text, looked=True) == found(text, looked=False)


@given(
    st.text("abci ", max_size=30),
    st.sampled_from([
        r"\bab(?:c|i)a\b", "(?:abc|bca(?: ab)?|i?abi) a+", "a{3}|[abci]bca", "(?i:abc)",
        "(?:ab|bc|ca)(?:ii|aa)?(?: abc){1,2}", "(?=abc)a|(?:cab|abi)(?!c)", "abc(?:|a)|a b c", "(a)bc\\1",
    ]),
)  # fmt: skip
def test_whatever_matches_holds_what_the_pattern_needs(text: str, pattern: str) -> None:
    words = NeededWords()
    look = words.look(pattern)
    held = 0
    for word in text.split():
        held |= words.bits(word)
    if re.search(pattern, " ".join(text.split())):
        assert may_match(look, held)


def test_what_is_needed_is_read_from_the_pattern() -> None:
    assert needed(r"\b(?:kill|hang) mysel(?:f|ves)|\bbridge") == (
        (frozenset({"kill ", "hang "}), frozenset({" myself", " myselves"})),
        (frozenset({"bridge"}),),
    )
    assert needed("(?i)kill") == ((),)  # not understood: nothing is asked for
    assert needed(".*") == ((),)


def test_most_patterns_of_a_harmless_text_are_spared() -> None:
    tried = spared = 0
    for text in (s.text for s in sentences() if not s.in_crisis):
        plain = fold(text)
        words = rules._words_of(plain)
        looked = rules._look(words)
        for language, first, bits in rules._placed():
            begun = looked.begun >> first & bits
            if language.letters == "latin" and begun:
                mine = looked._replace(begun=begun)
                tried += len(language.tried(begun))
                spared += len(language.tried(begun)) - len(rules._possible(words, mine, language))
    assert spared > 0.5 * tried
