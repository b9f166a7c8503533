"""The tiny model that thinks, in llama.cpp: thinking apart, and forms after it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from warmline.core.errors import Unsupported
from warmline.policies.base import FinishReason, Message, Request, Sampling
from warmline.policies.llama.policy import EmbeddedPolicy

torch = pytest.importorskip("torch", reason="the extra `transformers` is not installed")

from ..thinking_models import SAID, THOUGHT, save_gguf, save_thinker  # noqa: E402

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["free", "begun"])
async def thinker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[EmbeddedPolicy]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("thinkers")
    save_thinker(folder / "model", template=request.param)
    path = save_gguf(folder / "model", folder / f"{request.param}.gguf")
    async with EmbeddedPolicy(path, slots=2, threads=1, context_tokens=512) as policy:
        yield policy


def ask(*, max_tokens: int = 60, **options: Any) -> Request:
    names = ("thinking", "max_thinking_tokens")
    drawn = {name: options.pop(name) for name in names if name in options}
    sampling = Sampling(temperature=0, repetition_penalty=1.0, max_tokens=max_tokens, **drawn)
    return Request((Message("user", "Hello."),), sampling=sampling, **options)


async def test_thinking_is_told_from_the_answer(thinker: EmbeddedPolicy) -> None:
    reply = await thinker.respond(ask())
    assert (reply.text, reply.thinking, reply.finish_reason) == (SAID, THOUGHT, FinishReason.STOP)
    assert reply.usage is not None
    assert 40 < reply.usage.thinking_tokens < reply.usage.completion_tokens - 30


async def test_bounds_hold_for_the_answer_alone(thinker: EmbeddedPolicy) -> None:
    reply = await thinker.respond(ask(max_sentences=3))
    assert (reply.finish_reason, reply.thinking) == (FinishReason.SENTENCES, THOUGHT)
    assert reply.text.startswith("That is hard. How are you? I am here.")
    assert len(reply.text) < len(SAID)
    short = await thinker.respond(ask(max_tokens=6))
    assert (short.finish_reason, short.thinking) == (FinishReason.LENGTH, THOUGHT)
    assert SAID.startswith(short.text)


async def test_thinking_ends_at_its_own_limit(thinker: EmbeddedPolicy) -> None:
    reply = await thinker.respond(ask(max_thinking_tokens=12))
    assert reply.text == SAID, "and the answer follows all the same"
    assert reply.thinking
    assert THOUGHT.startswith(reply.thinking)
    assert len(reply.thinking) < len(THOUGHT)


@pytest.mark.parametrize(
    "form",
    [
        {"choices": ("YES", "NO")},
        {"schema": {"type": "string", "enum": ["YES", "NO"]}},
        {"prefill": "That is"},
    ],
)
async def test_forms_hold_after_the_thinking(thinker: EmbeddedPolicy, form: dict[str, Any]) -> None:
    reply = await thinker.respond(ask(**form))
    assert reply.thinking == THOUGHT
    assert reply.text.strip('"') in ("YES", "NO", SAID)


async def test_the_switch(thinker: EmbeddedPolicy) -> None:
    assert (await thinker.respond(ask(thinking="on"))).thinking == THOUGHT
    with pytest.raises(Unsupported, match=r"thinking = 'high' cannot be carried to the model"):
        await thinker.respond(ask(thinking="high"))
    if thinker.describe()["model"] == "free.gguf":
        reply = await thinker.respond(ask(thinking="off"))
        assert (reply.text, reply.thinking) == (SAID, None)
    else:
        with pytest.raises(Unsupported, match=r"has no switch for it"):
            await thinker.respond(ask(thinking="off"))
