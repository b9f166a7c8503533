"""When an answer is ended that is written by a model that thinks."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from warmline.policies.thinking.reader import PAIRS, Blocks, begins_mark, part
from warmline.policies.thinking.watch import Ended, ThinkingWatch, begins_answer


def run(text: str, **options: Any) -> tuple[Ended | None, str]:
    """Why and where an answer is ended that is written three characters a token."""
    watch = ThinkingWatch(**{"begun": False, "budget": 100, **options})
    for tokens, end in enumerate(range(3, len(text) + 3, 3), 1):
        if (why := watch(text[:end], tokens)) is not None:
            return why, text[:end]
    return None, text


def full_stops(most: int) -> Callable[[str], bool]:
    return lambda text: text.count(".") >= most


def test_sentences_count_only_after_the_thinking() -> None:
    text = "<think>One. Two. Three. Four.</think>Five. Six. Seven."
    assert run(text, until=full_stops(2)) == (Ended.ENOUGH, text[: text.index("Seven")])
    begun = text.removeprefix("<think>")
    why, kept = run(begun, begun=True, until=full_stops(2))
    assert (why, kept) == (Ended.ENOUGH, begun[: begun.index("Six. ") + 6])
    assert run("One. Two. Three.", until=full_stops(2))[1] == "One. Two."


def test_thinking_and_answer_have_their_own_limits() -> None:
    assert run("<think>" + "a" * 90, budget=10) == (Ended.BUDGET, "<think>" + "a" * 23)
    assert run("a" * 90, begun=True, budget=10) == (Ended.BUDGET, "a" * 30)
    text = "<think>aa</think>" + "b" * 60
    why, kept = run(text, room=4, budget=10)
    assert (why, kept.count("b")) == (Ended.LENGTH, 13)
    assert run("b" * 60, room=4) == (Ended.LENGTH, "b" * 12)


@pytest.mark.parametrize(
    ("text", "begun", "ended"),
    [
        ("<think>a</think>YES", False, Ended.THOUGHT),
        ("a</think>YES", True, Ended.THOUGHT),
        ("[THINK]a[/THINK]YES", False, Ended.THOUGHT),
        ("YES, since", False, Ended.SPOKE),
        ("<b>YES</b>", False, Ended.SPOKE),
    ],
)
def test_where_the_thinking_alone_is_wanted(text: str, begun: bool, ended: Ended) -> None:
    assert run(text, begun=begun, alone=True)[0] is ended


@pytest.mark.parametrize(
    ("written", "begun", "ended", "asked", "after"),
    [
        ("<think>a</think>\n", False, Ended.THOUGHT, True, "<think>a</think>\n\n"),
        ("<think>a", False, Ended.BUDGET, True, "<think>a\n</think>\n\n"),
        ("a", True, Ended.BUDGET, False, "a\n</think>\n\n"),
        ("a", True, None, False, "a\n</think>\n\n"),
        ("YE", False, Ended.SPOKE, True, ""),
        ("YES", False, None, True, ""),
        ("<think>a</think>b", False, None, False, None),
    ],
)
def test_what_stands_before_the_answer(
    written: str, begun: bool, ended: Ended | None, asked: bool, after: str | None
) -> None:
    assert begins_answer(PAIRS[0], written, begun=begun, ended=ended, asked=asked) == after


def test_the_channels_of_gpt_oss() -> None:
    pair = next(pair for pair in PAIRS if "analysis" in pair.opens)
    after = begins_answer(pair, f"{pair.opens}a", begun=False, ended=Ended.BUDGET, asked=True)
    assert after == (f"{pair.opens}a\n<|end|><|start|>assistant<|channel|>final<|message|>")


def test_thinking_without_marks_ends_with_its_name_alone() -> None:
    """Only signs that end a mark were looked at, and this end has none of them."""
    text = "analysisThe seeker is sad.assistantfinalYou sound sad. Tell me."
    assert run(text, budget=50, until=full_stops(1)) == (Ended.ENOUGH, text[:-9])


PIECES = [
    *{mark for pair in PAIRS for mark in (pair.opens, pair.closes)},
    *("<|start|>assistant", "<|channel|>final<|message|>", "<|return|>", "assistantfinal"),
    *("commentaryOne", " <|constrain|>json", "<|message|>", "<|call|>", "<|channel|>final"),
    *("<|open|>response<|sep|>", "<|close|>response<|sep|>", "[END FINAL RESPONSE]"),
    *("<answer>", "</answer>", "<response>", "</response>", "Here "),
    *("analysis", "analysisOne", "<thi", "[TH", "{", "}", "[", "]", '"', '\\"', "\\", ":", ", "),
    *('{"a": "', '"}', '["', '"]', "1", "a", "Two. ", " ", "\n", "\u3000"),
]


@given(
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join)
    | st.lists(st.sampled_from(PIECES), max_size=6).map(lambda p: '{"a": "' + "".join(p) + '"} '),
    st.lists(st.integers(1, 12), min_size=1),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, 3, 9]),
)
@example("<|channel|>final[THINK]<|message|>", [1], False, False, None)
def test_it_ends_where_telling_the_whole_text_apart_each_time_would(
    text: str, sizes: list[int], begun: bool, alone: bool, room: int | None
) -> None:
    asked: list[str] = []

    def until(said: str) -> bool:
        asked.append(said)
        return "." in said

    watch = ThinkingWatch(begun=begun, budget=20, room=room, alone=alone, until=until)
    end, answer_at = 0, None
    for tokens, size in enumerate(itertools.cycle(sizes), 1):
        end = min(len(text), end + size)
        whole = text[:end]
        parted = part(whole, begun=begun)
        expected = None
        if parted.open:
            expected = Ended.BUDGET if tokens >= 20 else None
        elif parted.text != whole or not begins_mark(whole.lstrip()):
            if answer_at is None:
                answer_at = 0 if parted.text == whole else tokens
            if alone:
                expected = Ended.THOUGHT if answer_at else Ended.SPOKE
            elif room is not None and tokens - answer_at >= room:
                expected = Ended.LENGTH
            elif "." in parted.text:
                expected = Ended.ENOUGH
        asked.clear()
        assert watch(whole, tokens) is expected
        assert watch.thinking_tokens == answer_at
        assert asked in ([], [parted.text])
        if end == len(text):
            return


@pytest.mark.parametrize(
    "unit", ["<b>a</b> ", "[1] ", "<think>a</think>b ", '{"<think>": ["</think>"]} ', '["<think>"']
)
def test_each_mark_is_looked_for_once(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = 0

    def counted(self: Blocks, text: str, start: int) -> None:
        nonlocal looked_at
        looked_at += len(text) - start
        read(self, text, start)

    read = Blocks.read
    monkeypatch.setattr(Blocks, "read", counted)
    watch, text = ThinkingWatch(begun=False, budget=10**6), unit * 5_000
    for tokens, end in enumerate(range(50, len(text), 50)):
        watch(text[:end], tokens)
    assert looked_at < 2 * len(text)
