"""The sentence splitter, the cap, and when a growing text may be stopped."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from warmline.policies.text.sentences import (
    SentenceLimit,
    cap_sentences,
    count_sentences,
    limit_reached,
    split_sentences,
)

DATA = Path(os.environ.get("WARMLINE_DATA", Path(__file__).parents[4] / "shared" / "data"))


@pytest.mark.parametrize(
    "sentences",
    [
        ["Dr. Smith called. ", "I left."],
        ["I like tea, e.g. green tea. ", "You?"],
        ["We met at 5 p.m. ", "Then I cried."],
        ["I live in the U.S. and like it. ", "You?"],
        ["He is no. 1 in class. ", "I am not."],
        ["It costs 3.50 a day. ", "Ok."],
        ["I am J. Smith. ", "Hi."],
        ['She said "No way. Really." ', "Then she left."],
        ["“I can't.” ", "He cried. ", "“Why?”"],
        ["Well... I don't know. ", "Maybe."],
        ["Well… maybe. ", "I see."],
        ["Wait... ", "Then he left."],
        ["I am sad 😢. ", "Help."],
        ["Thanks! ", "😊 I needed that."],
        ["It hurts (a lot). ", "Yes."],
        ["(I know. It is odd.) ", "But yes."],
        ["1. Breathe. ", "2. Walk. ", "3. Sleep."],
        ["1) Breathe\n", "2) Walk"],
        ["What?! ", "No way. ", "Really?!? ", "ok"],
        ["i lost my job. ", "i feel bad. ", "idk what to do"],
        ["我很难过。", "我不知道怎么办！", "你呢？"],
        ["嗯……我不知道。", "真的吗？！", "好。"],
        ["「もう無理。」", "と言った。", "疲れた。"],
        ["मैं दुखी हूँ। ", "मुझे नहीं पता।"],
        ["أنا حزين. ", "لا أعرف ماذا أفعل؟ ", "شكرا"],
        ["Line one\n\n", "Line two"],
        ["He left.", "She stayed."],
        ["I feel tired. ", "My boss shouts at me. ", "I do not sleep. ", "And one more."],
        ["He left me. ", "I cry."],
        ["Currently no. ", "ok. ", "I am ill. ", "Then I left."],
        ["1) Breathe ", "2) Count to ten ", "3) Call a friend ", "4) Sleep"],
        ["1\ufe0f\u20e3 Breathe ", "2\ufe0f\u20e3 Count to ten ", "3\ufe0f\u20e3 Call a friend"],
        ["① Breathe ", "② Walk ", "③ Sleep"],
        ["I have ③ wishes and 1\ufe0f\u20e3 dog."],
        ["ကျွန်တော် ဝမ်းနည်းတယ်။ ", "မအိပ်နိုင်ဘူး။ ", "ကူညီပါ။"],
        ["ኀዘን ይሰማኛል። ", "መተኛት አልችልም።"],
        ["Ես տխուր եմ։ ", "Ի՞նչ անեմ։"],
        ["ខ្ញុំសោកសៅ។ ", "ខ្ញុំមិនអាចគេងបាន។"],
        ["He left me‼ ", "What now⁉ ", "I cry."],
        ["Roses are red\n", "Violets are blue\n", "Sugar is sweet\n", "And so are you"],
        ["I went home\nand cried. ", "Then I slept."],
        ["I am sad 😢 ", "Can you help 🙏 ", "Thanks"],
        ["i am sad 😢 can you help"],
        ["I ❤️ Paris."],
        ["Это я, т.е. Маша. ", "Она, т. е. я, ушла."],
        ["ok.", "thanks"],
        ["see example.com or mail a.b@c.de or open notes.txt now"],
        ["(a) (a) (a) I am sad"],
        ["no punctuation at all"],
        ["..."],
        ["?!"],
        ["😊"],
        [],
    ],
    ids=lambda sentences: "".join(sentences) or "empty",
)
def test_sentences_of(sentences: list[str]) -> None:
    text = "".join(sentences)
    assert split_sentences(text) == sentences
    assert count_sentences(text) == len(sentences)


def test_white_space_alone_holds_no_sentence() -> None:
    assert split_sentences(" \n\t ") == []


@pytest.mark.parametrize("space", ["\u2028", "\u3000", "\u00a0", "\u202f", "\x85", "\ud83d"])
def test_characters_at_which_sentencex_aborts(space: str) -> None:
    text = f"{space}A. B{space}C. Then we went home."
    assert "".join(split_sentences(text)) == text
    assert limit_reached(f"ok{space}(A. So it went.", 3) is False


@pytest.mark.parametrize(
    ("text", "limit", "capped", "cut"),
    [
        ("One. Two. Three.", 2, "One. Two.", 1),
        ("One. Two. Three.", 3, "One. Two. Three.", 0),
        ("  One.  ", 3, "One.", 0),
        ("One! 😊 Two. Three. Four.", 2, "One! 😊 Two.", 2),
        ('He said "No. Stop. Never." and left. Two. Three.', 1,
         'He said "No. Stop. Never." and left.', 2),
        ("He said 'No. Stop. Never.' and left. Two. Three.", 1,
         "He said 'No. Stop. Never.' and left.", 2),
        ("The boys' room. It's ok. Don't.", 2, "The boys' room. It's ok.", 1),
        ("一。二。三。四。", 3, "一。二。三。", 1),
        ("", 3, "", 0),
        ("(a) (a) (a) I am sad", 1, "(a) (a) (a) I am sad", 0),
        ("1) Breathe 2) Count to ten 3) Call a friend 4) Sleep", 3,
         "1) Breathe 2) Count to ten 3) Call a friend", 1),
        ("One\nTwo\nThree\nFour", 3, "One\nTwo\nThree", 1),
    ],
)  # fmt: skip
def test_cap(text: str, limit: int, capped: str, cut: int) -> None:
    assert cap_sentences(text, limit) == (capped, cut)


@pytest.mark.parametrize(
    ("text", "reached"),
    [
        ("One. Two.", False),
        ("One. Two. ", False),
        ("One. Two. Thr", False),
        ("One. Two. Three ", True),
        ("One. Dr. Smith ", False),
        ("One. Two (three. four. five ", False),
        ('One. Two "three. four. five ', False),
        ("一。二。三，", True),
    ],
)
def test_two_sentences_are_complete_once_the_first_word_after_them_is(
    text: str, reached: bool
) -> None:
    assert limit_reached(text, 2) is reached


def test_a_long_quotation_is_no_way_around_the_cap() -> None:
    text = '"' + "I cry. " * 60 + '"'
    assert cap_sentences(text, 3) == ('"I cry. I cry. I cry.', 57)


def test_a_watch_may_be_shown_a_shorter_text_again() -> None:
    reached = SentenceLimit(1)
    text = "I see. You are sad. "
    assert reached(text)
    assert next(end for end in range(len(text)) if reached(text[:end])) == len("I see. You ")


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(limit: int) -> None:
    with pytest.raises(ValueError, match=f"at least 1, not {limit}"):
        cap_sentences("One.", limit)


def _smilechat() -> Iterator[str]:
    for path in sorted((DATA / "smilechat").glob("*.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield from (turn["content"] for turn in json.loads(line)["dialog"])


def _esconv() -> Iterator[str]:
    with gzip.open(DATA / "esconv" / "esconv_dev1070.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            yield from (turn["text"] for turn in json.loads(line)["dialog"])


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no research data at {DATA} (set WARMLINE_DATA)")
@pytest.mark.parametrize(("read", "least"), [(_smilechat, 20_000), (_esconv, 30_000)])
def test_the_cap_holds_on_real_dialogues(read: object, least: int) -> None:
    texts = list(read())  # type: ignore[operator]
    assert len(texts) >= least
    for text in texts:
        capped, cut = cap_sentences(text, 3)
        assert count_sentences(capped) <= 3
        if cut:
            assert cap_sentences(capped, 3) == (capped, 0)
