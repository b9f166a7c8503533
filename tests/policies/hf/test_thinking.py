"""A tiny real model that thinks, by heart: what it thought is apart, and bounds hold for the rest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
import torch

from warmline.core.errors import Unsupported
from warmline.policies.base import FinishReason, Message, Request, Sampling
from warmline.policies.hf.answers import Answer
from warmline.policies.hf.policy import TransformersPolicy
from warmline.policies.models.prompts import PromptWriter
from warmline.policies.thinking.reader import Parted, part

from ..thinking_models import SAID, TEMPLATES, THOUGHT, save_gguf, save_thinker
from ..tiny_models import make_tokenizer

pytestmark = pytest.mark.asyncio(loop_scope="module")

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"end": {"type": "boolean"}},
    "required": ["end"],
    "additionalProperties": False,
}


@pytest.fixture(autouse=True)
def nothing_stays_loaded() -> None:
    """The models here stay loaded for the module."""


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["free", "begun"])
async def thinker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[TransformersPolicy]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("thinkers") / request.param
    save_thinker(folder, template=request.param)
    async with TransformersPolicy(folder) as policy:
        yield policy


def ask(*, sampling: Sampling | None = None, **options: Any) -> Request:
    drawn = Sampling(temperature=0, max_tokens=60) if sampling is None else sampling
    return Request((Message("user", "Hello."),), sampling=drawn, **options)


def limited(**options: Any) -> Sampling:
    return Sampling(**{"temperature": 0, "max_tokens": 60, **options})


async def test_thinking_is_told_from_the_answer(thinker: TransformersPolicy) -> None:
    reply = await thinker.respond(ask())
    assert (reply.text, reply.thinking, reply.finish_reason) == (SAID, THOUGHT, FinishReason.STOP)
    assert reply.usage is not None
    assert 40 < reply.usage.thinking_tokens < reply.usage.completion_tokens - 30


async def test_a_gguf_file_answers_as_the_folder_it_was_made_of(
    thinker: TransformersPolicy, tmp_path: Path
) -> None:
    file = save_gguf(Path(thinker.model_folders[0]), tmp_path / "thinker.gguf")
    async with TransformersPolicy(file, dtype="float32") as policy:
        reply = await policy.respond(ask(logprobs=True))
    expected = await thinker.respond(ask(logprobs=True))
    assert (reply.text, reply.thinking) == (SAID, THOUGHT)
    assert reply.usage == expected.usage
    assert reply.logprobs is not None
    assert [e.logprob for e in reply.logprobs] == pytest.approx(
        [e.logprob for e in expected.logprobs or ()], abs=1e-3
    )


async def test_the_sentence_stop_counts_only_the_answer(thinker: TransformersPolicy) -> None:
    reply = await thinker.respond(ask(max_sentences=3, logprobs=True))
    assert reply.finish_reason is FinishReason.SENTENCES
    assert reply.text.startswith("That is hard. How are you? I am here.")
    assert len(reply.text) < len(SAID)
    assert reply.thinking == THOUGHT
    assert reply.logprobs is not None
    assert "".join(entry.token for entry in reply.logprobs).strip() == reply.text


async def test_the_answer_has_all_of_max_tokens(thinker: TransformersPolicy) -> None:
    reply = await thinker.respond(ask(sampling=limited(max_tokens=6)))
    assert (reply.thinking, reply.finish_reason) == (THOUGHT, FinishReason.LENGTH)
    assert SAID.startswith(reply.text)
    assert reply.text


async def test_thinking_ends_at_its_own_limit(thinker: TransformersPolicy) -> None:
    reply = await thinker.respond(ask(sampling=limited(max_thinking_tokens=12)))
    assert reply.text == SAID, "and the answer follows all the same"
    assert reply.thinking
    assert THOUGHT.startswith(reply.thinking)
    assert len(reply.thinking) < len(THOUGHT)
    assert reply.usage is not None
    assert reply.usage.thinking_tokens == 12


@pytest.mark.parametrize(
    "form", [{"choices": ("YES", "NO")}, {"schema": SCHEMA}, {"prefill": "That is"}]
)
async def test_forms_hold_after_the_thinking_not_instead_of_it(
    thinker: TransformersPolicy, form: dict[str, Any]
) -> None:
    reply = await thinker.respond(ask(**form))
    assert reply.thinking == THOUGHT
    assert reply.text in ("YES", "NO", '{"end":true}', '{"end":false}', SAID)
    cut = await thinker.respond(ask(sampling=limited(max_thinking_tokens=9), **form))
    assert cut.thinking is not None
    assert len(cut.thinking) < len(THOUGHT)


async def test_the_switch(thinker: TransformersPolicy) -> None:
    assert (await thinker.respond(ask(sampling=limited(thinking="on")))).thinking == THOUGHT
    with pytest.raises(Unsupported, match=r"thinking = 'low' cannot be carried to the model"):
        await thinker.respond(ask(sampling=limited(thinking="low")))
    off = ask(sampling=limited(thinking="off"))
    if "begun" in thinker.id:
        with pytest.raises(Unsupported, match=r"its chat template has no switch for it"):
            await thinker.respond(off)
    else:
        reply = await thinker.respond(off)
        assert (reply.text, reply.thinking) == (SAID, None)


async def test_a_given_text_is_scored_as_an_answer(thinker: TransformersPolicy) -> None:
    request = ask(sampling=limited(thinking=None if "begun" in thinker.id else "off"))
    entries = await thinker.score(request, SAID)
    assert sum(entry.logprob for entry in entries) / len(entries) > -0.5, "known by heart"


async def test_thinkers_share_a_batch(thinker: TransformersPolicy) -> None:
    requests = [ask(), ask(max_sentences=2), ask(choices=("YES", "NO"))] * 2
    replies = await asyncio.gather(*map(thinker.respond, requests))
    assert {reply.thinking for reply in replies} == {THOUGHT}


@pytest.mark.parametrize(
    ("marks", "written", "parted"),
    [
        (("[THINK]", "[/THINK]"), "[THINK]She is sad.[/THINK]I hear you.", "[THINK]"),
        (
            ("<|channel|>", "<|message|>", "<|end|>", "<|start|>"),
            "<|channel|>analysis<|message|>She is sad.<|end|><|start|>assistant<|channel|>final"
            "<|message|>I hear you.",
            "<|channel|>analysis<|message|>",
        ),
    ],
)
async def test_marks_that_are_special_tokens_are_not_lost(
    marks: tuple[str, ...], written: str, parted: str
) -> None:
    made = make_tokenizer(chat_template=TEMPLATES["free"].replace("<think>", parted))
    made.add_special_tokens({"additional_special_tokens": ["<|im_start|>", *marks]})
    ends = {"eos_token_id": made.eos_token_id}
    config = SimpleNamespace(is_encoder_decoder=False, **ends)
    writer = PromptWriter(made, config, SimpleNamespace(**ends))
    assert set(writer.mark_tokens.values()) == set(marks)
    answer = Answer(
        tokenizer=made, prompt=[1], before=[1], prefill="", seed=1, max_sentences=None,
        sampling=Sampling(temperature=0.0), stop_tokens=writer.stop_tokens, logprobs=False,
        marks=writer.mark_tokens,
    )  # fmt: skip
    for token in writer.encode(written):
        answer.take(token, None)
    assert answer.raw == written
    assert part(answer.raw) == Parted("She is sad.", "I hear you.")


async def test_a_model_that_does_not_think_is_as_before(llama: Path) -> None:
    async with TransformersPolicy(llama) as policy:
        plain = await policy.respond(ask())
        off = await policy.respond(ask(sampling=limited(thinking="off")))
        assert plain.text == off.text
        assert plain.thinking is None
        with pytest.raises(Unsupported, match=r"its chat template knows no thinking"):
            await policy.respond(ask(sampling=limited(thinking="on")))
