"""What a reply thinks and what it says, in the marks of the models people use."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warmline.policies.thinking.reader import PAIRS, Parted, opened_by, part


@pytest.mark.parametrize(
    ("raw", "thinking", "text"),
    [
        ("<think>She is sad.</think>\n\nI hear you.", "She is sad.", "I hear you."),
        ("She is sad. Be kind.\n</think>\n\nI hear you.", "She is sad. Be kind.", "I hear you."),
        ("<think>\n\n</think>\n\nI hear you.", "", "I hear you."),
        ("<think>one</think>Hello.<think>two</think>How are you?", "one\n\ntwo",
         "Hello. How are you?"),
        ("<think>one</think>two</think>Hello.", "one\n\ntwo", "Hello."),
        ("<think>a <think> b</think>Hello.", "a <think> b", "Hello."),
        ("<thinking>a</think>Hello.", "a", "Hello."),
        ("<thought>a</thought>Hello.", "a", "Hello."),
        ("[THINK]a[/THINK]Hello.", "a", "Hello."),
        ("◁think▷a◁/think▷Hello.", "a", "Hello."),
        ("<|channel>thought\na<channel|>Hello.", "a", "Hello."),
        ("<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>Hello.<|END_RESPONSE|>", "a",
         "Hello."),
        ("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>Hello."
         "<|return|>", "a", "Hello."),
        ("<|channel|>analysis<|message|>a<|channel|>final<|message|>Hello.", "a", "Hello."),
        ("analysisThe user is sad.assistantfinalHello.", "The user is sad.", "Hello."),
        ("analysiswe need care.\nassistantfinalHello.", "we need care.", "Hello."),
        ("analysis\nWe need care.assistantfinal\nHello.", "We need care.", "Hello."),
        ("commentaryA plan.assistantfinalHello.", "A plan.", "Hello."),
        ("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final"
         ' <|constrain|>json<|message|>{"a": 1}<|return|>', "a", '{"a": 1}'),
        ("<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>", "{}", ""),
        ("<|inner_prefix|>a<|inner_suffix|>Hello.", "a", "Hello."),
        ("Here is my thought process: a. Here is my response: Hello.", "a.", "Hello."),
        ("a<|close|>think<|sep|><|open|>response<|sep|>Hello.<|close|>response<|sep|>", "a",
         "Hello."),
        ("Here are my reasoning steps:\na\n[BEGIN FINAL RESPONSE]\nHello.\n[END FINAL RESPONSE]",
         "a", "Hello."),
        ("<think>a</think>\n<answer>\nHello.\n</answer>", "a", "Hello."),
        ("<think>a</think><response>Hello.", "a", "Hello."),
        ('<think>which?</think>{"choice": "YES"}', "which?", '{"choice": "YES"}'),
        ("<think>a > b</think>YES", "a > b", "YES"),
    ],
)  # fmt: skip
def test_thinking_is_told_from_what_is_said(raw: str, thinking: str, text: str) -> None:
    assert part(raw) == Parted(thinking, text)


@pytest.mark.parametrize(
    "raw",
    [
        "Sure. Here is my response: I hear you.",
        "I said: Here is my thought process: none.",
        "<answer>Hello.</answer>",
        "analysis of it all is hard.",
        "Commentary: it is hard.",
    ],
)
def test_words_that_only_look_like_marks(raw: str) -> None:
    assert part(raw) == Parted("", raw)


@pytest.mark.parametrize("raw", ["<think>She is", "[THINK]She is", "analysisShe is"])
def test_a_block_that_does_not_end_says_nothing(raw: str) -> None:
    assert part(raw) == Parted("She is", "", open=True)


def test_a_block_begun_in_the_prompt() -> None:
    assert part("She is", begun=True) == Parted("She is", "", open=True)
    assert part("She is.</think>Hello.", begun=True) == Parted("She is.", "Hello.")
    assert opened_by("<|im_start|>assistant\n<think>\n") == PAIRS[0]
    assert opened_by("<|im_start|>assistant\n<think>\n\n</think>\n\n") is None
    assert opened_by("<|im_start|>assistant\n") is None


def test_marks_in_complete_json_are_part_of_it() -> None:
    raw = json.dumps({"analysis": "she wrote <think> and </think>"})
    assert part(raw) == Parted("", raw)


@pytest.mark.parametrize("mark", ["Here is my response:", "Here is my thought process:"])
def test_words_that_are_a_mark_elsewhere_leave_a_text_as_it_is(mark: str) -> None:
    assert part(f" One. {mark} Two. ") == Parted("", f" One. {mark} Two. ")


@given(st.text())
def test_text_without_marks_is_left_as_it_is(text: str) -> None:
    if not any(mark in text for pair in PAIRS for mark in (pair.opens, pair.closes)):
        assert part(text) == Parted("", text)


@given(
    st.sampled_from([pair for pair in PAIRS if "|channel|" not in pair.opens]),
    st.text(alphabet="ab .?\n字"),
    st.text(alphabet="ab .?\n字"),
)
def test_every_pair_of_marks_parts_at_every_place_of_a_stream(pair, thinking, text):  # type: ignore[no-untyped-def]
    raw = f"{pair.opens}{thinking}{pair.closes}{text}"
    assert part(raw) == Parted(thinking.strip(), text.strip())
    for end in range(len(pair.opens), len(raw)):
        so_far = part(raw[:end])
        assert so_far.text == "" or text.strip().startswith(so_far.text)
