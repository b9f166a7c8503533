"""When an answer is ended that is written by a model that thinks."""

from collections.abc import Callable
from typing import Any

import pytest

from warmline.policies.thinking.reader import PAIRS
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
