"""What a growing text says, followed chunk by chunk."""

import itertools
import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from warmline.policies.thinking.reader import PAIRS, Blocks, part
from warmline.policies.thinking.watch import SpokenSoFar

WORDS = ("The ", "seeker", " is", " sad", ".", " Maybe", " I < ", "should", " a > b ")
TEXTS = [
    "One. Two < three. [Four] Five.",
    *(f"{p.opens} One. {p.closes}{p.then}Two. {p.opens}Three.{p.closes} Four." for p in PAIRS),
    "One.</think>Two. <think>Three</thinking> Four.",
    "<|channel|>analysis<|message|>One.<|channel|>final<|message|>Two.<|return|>",
    "analysisOne. Two. " + "Three. " * 20 + "assistantfinalFour. Five.",
    " \n analysis of it. " * 9 + "Six.",
]


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("size", [1, 7, 60])
@pytest.mark.parametrize("text", TEXTS)
def test_each_beginning_says_what_its_parts_say(text: str, size: int, begun: bool) -> None:
    spoken = SpokenSoFar(begun=begun)
    for end in range(size, len(text) + size, size):
        parted = part(text[:end], begun=begun)
        said = spoken(text[:end])
        assert (said is None) is parted.open
        assert (said or "").split() == ("" if parted.open else parted.text).split()


def test_another_text_is_begun_anew() -> None:
    spoken = SpokenSoFar(begun=False)
    assert spoken("<think>One.") is None
    assert spoken("Two.") == "Two."


@pytest.mark.parametrize("opens", ["<think>", "", "[ "])
def test_the_work_grows_with_the_text_alone(opens: str) -> None:
    """Looked at anew with each chunk, these take eight seconds."""
    spoken, text = SpokenSoFar(begun=False), opens
    begun = time.process_time()
    for number in range(20_000):
        text += WORDS[number % len(WORDS)]
        spoken(text)
    assert time.process_time() - begun < 2


PIECES = [
    *{mark for pair in PAIRS for mark in (pair.opens, pair.closes)},
    *(
        "<|start|>assistant",
        "<|channel|>final<|message|>",
        "<|return|>",
        "assistantfinal",
        "analysis",
    ),
    *("commentaryOne", " <|constrain|>json", "<|message|>", "<|call|>", "<|channel|>final"),
    *("Here is my ", "<answer>", "</answer>", "<response>", "</response>"),
    *("analysisOne", "<thi", "[TH", "{", '"', "a", "Two. ", " ", "\n"),
]


@given(
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.lists(st.integers(1, 12), min_size=1),
    st.booleans(),
)
@example("<|channel|>final[THINK]<|message|>", [1], False)
def test_each_beginning_of_any_text_says_what_its_parts_say(
    text: str, sizes: list[int], begun: bool
) -> None:
    spoken, end = SpokenSoFar(begun=begun), 0
    for size in itertools.cycle(sizes):
        end = min(len(text), end + size)
        parted, said = part(text[:end], begun=begun), spoken(text[:end])
        assert (said is None) is parted.open
        assert (said or "").split() == ("" if parted.open else parted.text).split()
        if end == len(text):
            return


@pytest.mark.parametrize("unit", ["<think>", "<think></think>", "</think>", "<think>a</think>b. "])
def test_each_mark_of_a_text_of_nothing_but_marks_is_seen_a_few_times_only(
    unit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Telling the whole text apart for each of 3,000 pieces took minutes."""
    looked_at = 0

    def counted(self: Blocks, text: str, start: int) -> None:
        nonlocal looked_at
        looked_at += len(text) - start
        read(self, text, start)

    read = Blocks.read
    monkeypatch.setattr(Blocks, "read", counted)
    spoken, text = SpokenSoFar(begun=False), unit * 20_000
    for end in range(50, len(text), 50):
        spoken(text[:end])
    assert len(text) - 50 <= looked_at < 2 * len(text)
