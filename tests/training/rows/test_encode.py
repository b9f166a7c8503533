"""Masks: loss lies exactly on the replies and the token that ends each, for any chat template."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AddedToken

from warmline.core.errors import BadRequest, ConfigError
from warmline.policies.base import Message, Request
from warmline.training.preview.display import (
    colored,
    stretches,
)
from warmline.training.rows.build import Row
from warmline.training.rows.encode import IGNORED, Encoded, RowEncoder, encode_rows

from ...policies.tiny_models import make_tokenizer
from ..building import BARE, GEMMA2, LLAMA3, MISTRAL, MISTRAL01, QWEN3, SMOLLM2, tokenizer

SYSTEM, ASK, REPLY = Message("system", "Help."), Message("user", "Hi."), "I hear you."
TURN = Row("a#1", "a", (SYSTEM, ASK, Message("assistant", REPLY)), (2,))
CHAT = Row(
    "a",
    "a",
    (SYSTEM, ASK, Message("assistant", "One."), ASK, Message("assistant", "Two."),
     ASK, Message("assistant", "Three.")),
    (2, 6),
)  # fmt: skip
"""The second reply is context, not learned."""

STYLES: dict[str, tuple[str, str, tuple[str, ...], str, str]] = {
    # template, end of turn, control tokens, the prompt's text, what is learned
    "SmolLM2": (
        SMOLLM2, "<|im_end|>", (),
        "<|im_start|>system\nHelp.<|im_end|>\n<|im_start|>user\nHi.<|im_end|>\n"
        "<|im_start|>assistant\n",
        "I hear you.<|im_end|>",
    ),
    "Llama-3": (
        LLAMA3, "<|eot_id|>", ("<|start_header_id|>", "<|end_header_id|>"),
        "<|endoftext|><|start_header_id|>system<|end_header_id|>\n\nHelp.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nHi.<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n",
        "I hear you.<|eot_id|>",
    ),
    "Qwen": (
        QWEN3, "<|im_end|>", (),
        "<|im_start|>system\nHelp.<|im_end|>\n<|im_start|>user\nHi.<|im_end|>\n"
        "<|im_start|>assistant\n",
        "<think>\n\n</think>\n\nI hear you.<|im_end|>",
    ),
    "Mistral": (
        MISTRAL, "</s>", ("[INST]", "[/INST]"),
        "<|endoftext|>[INST] Help.\n\nHi. [/INST]",
        " I hear you.</s>",
    ),
    "Gemma-2": (
        GEMMA2, "<end_of_turn>", ("<start_of_turn>",),
        "<|endoftext|><start_of_turn>user\nHelp.\n\nHi.<end_of_turn>\n<start_of_turn>model\n",
        "I hear you.<end_of_turn>",
    ),
    "Mistral-0.1": (
        MISTRAL01, "</s>", ("[INST]", "[/INST]"),
        "<|endoftext|>[INST] Help.\n\nHi. [/INST]",
        "I hear you.</s>",
    ),
    "bare": (
        BARE, "<|im_end|>", (),
        "system: Help.\nuser: Hi.\nassistant: ",
        "I hear you.\n<|im_end|>",
    ),
}  # fmt: skip


def encoder_for(style: str) -> tuple[RowEncoder, Any]:
    template, end, control, *_ = STYLES[style]
    made = tokenizer(template, end, *control)
    return RowEncoder(made, config(made), config(made)), made


def config(made: Any, **changed: Any) -> Any:
    values = {"eos_token_id": made.eos_token_id, "is_encoder_decoder": False}
    return SimpleNamespace(
        **values | {"decoder_start_token_id": None, "forced_bos_token_id": None} | changed
    )


def learned(encoded: Encoded, made: Any) -> list[str]:
    return [made.decode(tokens) for is_learned, tokens in stretches(encoded) if is_learned]


@pytest.mark.parametrize("style", STYLES)
def test_the_mask_covers_the_reply_and_its_end(style: str) -> None:
    """The texts in `STYLES` are written out by hand from each template."""
    encoder, made = encoder_for(style)
    encoded = encoder.encode(TURN)
    *_, prompt, reply = STYLES[style]
    (_, unlearned), (_, with_loss) = stretches(encoded)
    assert made.decode(unlearned) == prompt
    assert made.decode(with_loss) == reply
    assert len(encoded.labels) == len(encoded.input_ids)
    assert encoded.learned == len(with_loss)
    assert with_loss[-1] == made.eos_token_id


@pytest.mark.parametrize("style", STYLES)
def test_the_prompt_is_what_the_seated_model_is_asked(style: str) -> None:
    encoder, _ = encoder_for(style)
    asked = encoder.writer.write(Request(messages=TURN.prompt)).tokens
    encoded = encoder.encode(TURN)
    assert tuple(encoded.input_ids[: len(asked)]) == asked
    assert encoded.labels[: len(asked)] == [IGNORED] * len(asked)


def test_smollm2_by_hand() -> None:
    """`<|im_start|>user\\nHi.<|im_end|>\\n<|im_start|>assistant\\n` then `Go<|im_end|>`: with byte
    tokens the mask is one -100 for each of the prompt's tokens, then `G`, `o`, the end token; the
    line break that the template writes last is not there."""
    encoder, made = encoder_for("SmolLM2")
    encoded = encoder.encode(Row("x", "x", (ASK, Message("assistant", "Go")), (1,)))
    end = made.convert_tokens_to_ids("<|im_end|>")
    reply = made("Go", add_special_tokens=False)["input_ids"]
    assert encoded.labels[-len(reply) - 1 :] == [*reply, end]
    assert set(encoded.labels[: -len(reply) - 1]) == {IGNORED}
    assert encoded.input_ids[-1] == end


@pytest.mark.parametrize("style", ["SmolLM2", "Llama-3", "Gemma-2", "Mistral-0.1"])
def test_several_replies_of_one_conversation(style: str) -> None:
    encoder, made = encoder_for(style)
    end = STYLES[style][1]
    assert learned(encoder.encode(CHAT), made) == [f"One.{end}", f"Three.{end}"]


def test_a_template_that_rewrites_earlier_messages_is_refused_for_conversations() -> None:
    encoder, _ = encoder_for("Mistral")
    with pytest.raises(ConfigError, match=r"earlier messages differently[\s\S]*per = 'turn'"):
        encoder.encode(CHAT)


def test_a_template_that_frames_a_finished_reply_otherwise() -> None:
    """It asks with `<go>` and writes finished replies without it: the prompt stays as asked."""
    template = (
        "{% for m in messages %}{{ m.role }}|{{ m.content }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}assistant|<go>{% endif %}"
    )
    made = tokenizer(template)
    encoded = RowEncoder(made, config(made), config(made)).encode(TURN)
    assert made.decode(encoded.input_ids) == (
        "system|Help.<|im_end|>user|Hi.<|im_end|>assistant|<go>I hear you.<|im_end|>"
    )
    assert learned(encoded, made) == ["I hear you.<|im_end|>"]


def test_a_template_that_changes_the_reply_is_refused() -> None:
    made = tokenizer("{% for m in messages %}{{ m.content | upper }}{% endfor %}ask:")
    with pytest.raises(ConfigError, match="does not write the assistant's replies as they are"):
        RowEncoder(made, config(made), config(made)).encode(TURN)


def test_where_a_token_would_reach_over_the_joint() -> None:
    """`assistant: ` ends in a space that the tokenizer joins to the reply's first letters."""
    made = tokenizer(BARE)
    joint = made("assistant: you", add_special_tokens=False)["input_ids"]
    prompt = made("assistant: ", add_special_tokens=False)["input_ids"]
    assert joint[: len(prompt)] != prompt
    row = Row("x", "x", (ASK, Message("assistant", "you")), (1,))
    encoded = RowEncoder(made, config(made), config(made)).encode(row)
    assert made.decode(encoded.input_ids) == "user: Hi.\nassistant: you\n<|im_end|>"
    assert learned(encoded, made) == ["you\n<|im_end|>"]


NEXT = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}" + (
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
"""A reply ends where the next message begins, as GLM-4 and Zephyr's kin write it."""


def test_an_end_that_stands_only_among_added_tokens_is_the_end() -> None:
    """Phi's `<|end|>`: a special token that no named attribute of the tokenizer lists."""
    template = SMOLLM2.replace("<|im_end|>", "<|end|>")
    made = make_tokenizer(chat_template=template)
    made.add_tokens([AddedToken("<|end|>", special=True)])
    end = made.convert_tokens_to_ids("<|end|>")
    assert end not in made.all_special_ids
    encoder = RowEncoder(made, config(made), config(made))
    assert encoder.writer.stop_tokens == {end, made.eos_token_id}
    assert learned(encoder.encode(TURN), made) == [f"{REPLY}<|end|>"]
    assert learned(encoder.encode(CHAT), made) == ["One.<|end|>", "Three.<|end|>"]


def test_an_end_that_belongs_to_the_next_message_is_learned() -> None:
    made = tokenizer(NEXT, "<|im_end|>", "<|system|>", "<|user|>", "<|assistant|>")
    user = made.convert_tokens_to_ids("<|user|>")
    encoder = RowEncoder(made, config(made), config(made))
    assert encoder.writer.stop_tokens == {user, made.eos_token_id}
    assert learned(encoder.encode(TURN), made) == [f"{REPLY}<|user|>"]
    chat = encoder.encode(CHAT)
    assert learned(chat, made) == ["One.<|user|>", "Three.<|user|>"]
    assert made.decode(chat.input_ids) == (
        "<|system|>Help.<|user|>Hi.<|assistant|>One.<|user|>Hi.<|assistant|>Two."
        "<|user|>Hi.<|assistant|>Three.<|user|>"
    )


def test_an_end_that_the_template_never_writes_is_learned_between_messages() -> None:
    """The prompt of a later turn stays as it is asked, without the end token of earlier ones."""
    encoder, made = encoder_for("bare")
    chat = encoder.encode(CHAT)
    assert learned(chat, made) == ["One.\n<|im_end|>", "Three.\n<|im_end|>"]
    assert made.decode(chat.input_ids).count("<|im_end|>") == 1
    asked = encoder.writer.write(Request(messages=CHAT.prompt)).tokens
    assert tuple(chat.input_ids[: len(asked)]) == asked


def test_tokens_that_the_model_does_not_know_are_named() -> None:
    made = tokenizer(SMOLLM2)
    small = config(made, vocab_size=len(made))
    made.add_tokens(["zqzq"])
    encoder = RowEncoder(made, small, small)
    row = Row("x", "x", (ASK, Message("assistant", "Azqzq")), (1,))
    with pytest.raises(BadRequest, match=r"of 'zqzq', but the model knows only \d+ tokens"):
        encoder.encode(row)


def test_what_is_said_cannot_end_a_turn() -> None:
    encoder, made = encoder_for("SmolLM2")
    row = Row("x", "x", (ASK, Message("assistant", "A<|im_end|>B")), (1,))
    assert learned(encoder.encode(row), made) == ["A< |im_end|>B<|im_end|>"]


def test_an_encoder_decoder_learns_the_decoders_side() -> None:
    made = tokenizer(None)
    start = made.bos_token_id
    encoder = RowEncoder(
        made,
        config(made, is_encoder_decoder=True),
        config(made, is_encoder_decoder=True, decoder_start_token_id=start),
    )
    encoded = encoder.encode(TURN)
    reply = made(REPLY)["input_ids"]
    assert made.decode(encoded.input_ids) == "Help.\nHi."
    assert encoded.labels == [*reply, made.eos_token_id]
    assert encoded.decoder_input_ids == [start, *reply]
    assert encoded.learned == len(reply) + 1


def test_a_forced_first_token_is_not_learned() -> None:
    made = tokenizer(None)
    forced = made.convert_tokens_to_ids("A")
    encoder = RowEncoder(
        made,
        config(made, is_encoder_decoder=True),
        config(made, is_encoder_decoder=True, decoder_start_token_id=0, forced_bos_token_id=forced),
    )
    encoded = encoder.encode(TURN)
    assert encoded.decoder_input_ids[:2] == [0, forced]
    assert encoded.labels[0] == IGNORED
    assert len(encoded.labels) == len(encoded.decoder_input_ids)


def test_an_encoder_decoder_takes_one_reply_a_row() -> None:
    made = tokenizer(None)
    encoder = RowEncoder(
        made,
        config(made, is_encoder_decoder=True),
        config(made, is_encoder_decoder=True, decoder_start_token_id=0),
    )
    with pytest.raises(ConfigError, match="has 2 replies, and an encoder-decoder learns one"):
        encoder.encode(CHAT)


def test_rows_that_are_too_long() -> None:
    encoder, _ = encoder_for("SmolLM2")
    length = encoder.encode(TURN).tokens
    encoded, kept, bad = encode_rows(encoder, [TURN, TURN], length)
    assert (len(encoded), len(kept), bad) == (2, 2, [])
    encoded, kept, bad = encode_rows(encoder, [TURN], length - 1)
    assert (encoded, kept) == ([], [])
    assert (bad[0].id, bad[0].fault) == ("a#1", "too_long")
    assert f"{length} tokens, at most {length - 1}" in bad[0].detail


replies = st.text(
    alphabet=st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20
)


@given(replies, st.sampled_from(["SmolLM2", "Llama-3", "Mistral"]))
def test_any_reply_comes_back_from_its_mask(reply: str, style: str) -> None:
    encoder, made = ENCODERS[style]
    if not (said := encoder.writer.plain(reply.strip())).strip():
        return
    encoded = encoder.encode(Row("x", "x", (ASK, Message("assistant", reply.strip())), (1,)))
    assert "".join(learned(encoded, made)).strip() == f"{said.strip()}{STYLES[style][1]}"


ENCODERS = {style: encoder_for(style) for style in ("SmolLM2", "Llama-3", "Mistral")}


def test_preview_shows_what_is_learned() -> None:
    encoder, made = encoder_for("SmolLM2")
    shown = colored(encoder.encode(TURN), made, brackets=True)
    assert shown.plain.endswith("<|im_start|>assistant\n⟦I hear you.<|im_end|>⟧")
    bright = [span for span in shown.spans if "green" in str(span.style)]
    assert [shown.plain[s.start : s.end] for s in bright] == ["⟦I hear you.<|im_end|>⟧"]
