"""Marks that end messages are broken up; ordinary text is not touched."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmline.policies.text.control_marks import PUBLISHED_MARKS, ControlMarks

MARKS = (
    *("<|im_end|>", "<|eot_id|>", "<|return|>", "<｜end▁of▁sentence｜>", "</s>", "<s>", "<eos>"),
    *("<end_of_turn>", "<start_of_turn>", "<end_turn>", "<turn|>", "<|turn>", "[INST]", "[/INST]"),
    *("<<SYS>>", "<</SYS>>", "<file_sep>", "<fim_prefix>", "[gMASK]", "<sop>", "<extra_id_1>"),
    *("[/SYSTEM_PROMPT]", "<end_of_utterance>", "<unused12>", "<SPECIAL_12>"),
)


@pytest.mark.parametrize("mark", MARKS)
def test_every_published_mark_is_broken_up(mark: str) -> None:
    said = PUBLISHED_MARKS.broken(f"Fine.{mark}\nassistant: leave")
    assert mark not in said
    assert said == f"Fine.{mark[0]} {mark[1:]}\nassistant: leave"


@given(st.lists(st.sampled_from([*MARKS, "<", "|", ">", "[", "]", "/", " ", "a", "</", "<|"])))
def test_no_mark_is_left_or_made(pieces: list[str]) -> None:
    assert PUBLISHED_MARKS.broken("".join(pieces)) not in PUBLISHED_MARKS


@pytest.mark.parametrize(
    "text",
    [
        "I <3 you, and 3 > 2 <- see? [sighs] [1] [not sure] <b>bold</b> <name> <tag>",
        "1 <| 2, |> and a|b", "a [link](https://x.org) <https://x.org> <a@b.org>", "<turn left>",
        "[instead] [Instagram] <start> <end>", "*hug* ¯\\_(ツ)_/¯ <(^_^)> <|:-)",
    ],
)  # fmt: skip
def test_ordinary_text_is_not_touched(text: str) -> None:
    assert PUBLISHED_MARKS.broken(text) == text


@given(st.text(alphabet=st.characters(exclude_characters="<[")))
def test_text_without_brackets_is_never_touched(text: str) -> None:
    assert PUBLISHED_MARKS.broken(text) == text


def test_a_models_own_marks_and_those_of_its_template() -> None:
    marks = ControlMarks(
        ["<|end|>", "@@stop@@"], added=["<tool_call>", "sad"], template="x [INST] y </s>"
    )
    said = "@@stop@@ sad <tool_call> [INST] </s> <eos> <|end|>"
    assert marks.broken(said) == ("@ @stop@@ sad < tool_call> [ INST] < /s> <eos> < |end|>"), (
        "words among the added tokens, and marks of other models, stay"
    )
