"""Calibrated choice, on scores written down here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from warmline.policies.base import Message, Usage
from warmline.policies.choosing import CalibratedChoice, choice_grammar, draw, question_alone

SYSTEM = Message("system", "Choose a label.")
OPTIONS = ("favourite", "fitting")


class Biased:
    """Likes one label always, and the fitting one a little more after a dialogue."""

    def __init__(self) -> None:
        self.asked: list[tuple[Message, ...]] = []

    async def __call__(self, messages: Sequence[Message], option: str) -> tuple[float, Usage]:
        self.asked.append(tuple(messages))
        has_dialogue = any("dialogue" in message.content for message in messages)
        scores = {"favourite": -1.0, "fitting": -4.0 if has_dialogue else -6.0}
        return scores[option], Usage(prompt_tokens=10, completion_tokens=2)


async def test_the_favourite_loses_its_head_start_and_the_baseline_is_asked_once() -> None:
    biased = Biased()
    choice = CalibratedChoice(biased)
    messages = (SYSTEM, Message("user", "A dialogue.\n\nWhich label?"))
    text, usage = await choice.choose(messages, OPTIONS, temperature=0, seed=None)
    assert text == "fitting"  # -4 + 6 = 2 against -1 + 1 = 0
    assert usage == Usage(prompt_tokens=40, completion_tokens=8)
    assert biased.asked[2] == (SYSTEM, Message("user", "Which label?"))
    _, usage = await choice.choose(messages, OPTIONS, temperature=0, seed=None)
    assert usage == Usage(prompt_tokens=20, completion_tokens=4)
    assert len(biased.asked) == 6


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ((), (Message("user", ""),)),
        ((SYSTEM,), (SYSTEM, Message("user", ""))),
        ((SYSTEM, Message("user", "One paragraph.")), (SYSTEM, Message("user", ""))),
        ((SYSTEM, Message("user", "Said.\n\nAsked?\n")), (SYSTEM, Message("user", "Asked?"))),
        (
            (SYSTEM, Message("user", "Said."), Message("assistant", "Hm."), Message("user", "Q?")),
            (SYSTEM, Message("user", "Q?")),
        ),
    ],
)
def test_question_alone(messages: tuple[Message, ...], expected: tuple[Message, ...]) -> None:
    assert question_alone(messages) == expected


def test_draw_follows_the_softmax() -> None:
    # log 3 apart at temperature 1: three to one; at 0 always the best.
    scores = [1.0986123, 0.0]
    counts = Counter(draw(OPTIONS, scores, 1.0, seed) for seed in range(2000))
    assert counts["favourite"] / 2000 == pytest.approx(0.75, abs=0.03)
    assert {draw(OPTIONS, scores, 0, seed) for seed in range(9)} == {"favourite"}
    assert draw(OPTIONS, scores, 1.0, 7) == draw(OPTIONS, scores, 1.0, 7)


async def code_points(text: str) -> list[int]:
    return [ord(char) for char in text]


async def test_grammar_of_tokens_and_of_characters() -> None:
    assert await choice_grammar(("ab", "c"), code_points) == "root ::= <[97]> <[98]> | <[99]>"
    beyond = await choice_grammar(('a"b\\c\n', "好"), code_points)
    assert beyond == 'root ::= "a\\"b\\\\c\\n" | "好"'
