"""The embedded engine with a model whose chat template has no system role."""

from __future__ import annotations

from pathlib import Path

import pytest

from warmline.policies.base import Message, Request, Sampling
from warmline.policies.llama.policy import EmbeddedPolicy
from warmline.policies.models.system_role import fold_system
from warmline.policies.models.weights import find_weights

from ...training.building import GEMMA2

pytestmark = pytest.mark.embedded

TALK = (
    Message("system", "You are a kind supporter."),
    Message("user", "I lost my job last week."),
    Message("assistant", "I am sorry."),
    Message("user", "It was the only bakery in town."),
)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The default weights under Gemma's template."""
    import gguf
    from gguf.scripts.gguf_new_metadata import MetadataDetails, copy_with_new_metadata

    reader = gguf.GGUFReader(find_weights(None), "r")
    file = tmp_path_factory.mktemp("strict") / "strict.gguf"
    field = reader.get_field(gguf.Keys.General.ARCHITECTURE)
    assert field is not None
    writer = gguf.GGUFWriter(file, arch=field.contents())
    template = MetadataDetails(gguf.GGUFValueType.STRING, GEMMA2)
    copy_with_new_metadata(reader, writer, {gguf.Keys.Tokenizer.CHAT_TEMPLATE: template}, [])
    return file


async def test_the_system_text_opens_the_first_user_message(strict: Path) -> None:
    greedy = Sampling(temperature=0.0, max_tokens=12)
    async with EmbeddedPolicy(strict, threads=1, context_tokens=512, deterministic=True) as policy:
        replies = [
            await policy.respond(Request(messages, sampling=greedy, seed=1))
            for messages in (TALK, fold_system(TALK))
        ]
        body = await policy._body(Request(TALK))
    texts = [reply.text for reply in replies]
    tokens = [reply.usage.prompt_tokens for reply in replies if reply.usage]
    assert texts[0] == texts[1]
    assert tokens[0] == tokens[1]
    assert body["messages"][0]["content"] == f"{TALK[0].content}\n\n{TALK[1].content}"


async def test_a_model_that_has_one_is_left_as_it_is() -> None:
    async with EmbeddedPolicy(threads=1, context_tokens=512, slots=1) as policy:
        body = await policy._body(Request(TALK))
    assert body["messages"][0]["role"] == "system"
