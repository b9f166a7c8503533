"""The other way to vLLM: its server, and the `openai` policy. As docs/vllm.md describes it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from warmline.core.errors import ContextTooLong
from warmline.policies import Message, Request, Sampling
from warmline.policies.answers import misfit
from warmline.policies.base import FinishReason
from warmline.policies.openai.policy import OpenAIPolicy
from warmline.policies.text.sentences import limit_reached

from ..conformance.cells import ROWS, label, outcome, read_table
from ..conformance.servers import vllm_serve

pytestmark = [
    pytest.mark.skipif(
        find_spec("vllm") is None,
        reason="vLLM is not installed; `make test-vllm` tests it in an environment of its own",
    ),
    pytest.mark.timeout(600),
]

STRATEGIES = ("Question", "Reflection of Feelings", "Others")


def ask(text: str = "I feel sad because of the rain.", **fields: Any) -> Request:
    messages = (Message("system", "You listen kindly."), Message("user", text))
    sampling = Sampling(temperature=0.8, top_p=0.95, min_p=0.01, max_tokens=32)
    return Request(messages, **{"sampling": sampling, "seed": 5, **fields})


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with vllm_serve(tmp_path_factory.mktemp("server")) as url:
        yield url


@pytest.mark.parametrize("mode", ["auto", "structured_outputs", "json_schema"])
async def test_choices_are_bound(base_url: str, mode: Any) -> None:
    async with OpenAIPolicy(
        base_url=base_url, choices_mode=mode, thinking_in_prompt=False
    ) as policy:
        assert policy.id == "openai:smollm2"
        replies = await asyncio.gather(
            *(policy.respond(ask(choices=STRATEGIES, seed=n)) for n in range(6))
        )
    for reply in replies:
        assert reply.text in STRATEGIES
        assert reply.finish_reason is FinishReason.CHOICE
        assert reply.attempts == 1


async def test_json_fits_its_schema(base_url: str) -> None:
    schema = {
        "type": "object",
        "properties": {"score": {"type": "integer", "minimum": 1, "maximum": 5}},
        "required": ["score"],
        "additionalProperties": False,
    }
    async with OpenAIPolicy(base_url=base_url, thinking_in_prompt=False) as policy:
        reply = await policy.respond(ask(schema=schema, sampling=Sampling(max_tokens=200)))
    assert misfit(json.loads(reply.text), schema) is None


async def test_a_seed_repeats_and_another_differs(base_url: str) -> None:
    async with OpenAIPolicy(base_url=base_url, thinking_in_prompt=False) as policy:
        first, again, other = [await policy.respond(ask(seed=n)) for n in (7, 7, 8)]
    assert first.text == again.text != other.text


async def test_the_answer_is_hung_up_on_after_its_sentences(base_url: str) -> None:
    greedy = Sampling(temperature=0, max_tokens=400)
    async with OpenAIPolicy(base_url=base_url, thinking_in_prompt=False) as policy:
        full = await policy.respond(ask(sampling=greedy))
        short = await policy.respond(ask(sampling=greedy, max_sentences=1))
    assert short.finish_reason is FinishReason.SENTENCES
    assert limit_reached(short.text, 1)
    assert len(short.text) < len(full.text)


async def test_prefill_logprobs_and_cached_tokens(base_url: str) -> None:
    long = ask("I remember the garden behind the house. " * 30, prefill="It sounds", logprobs=True)
    async with OpenAIPolicy(
        base_url=base_url, prefill="continue", thinking_in_prompt=False
    ) as policy:
        await policy.respond(long)
        reply = await policy.respond(long)
    assert reply.text.startswith("It sounds")
    assert reply.logprobs
    assert reply.usage is not None
    assert reply.usage.cached_tokens >= 128


async def test_a_prompt_that_does_not_fit_is_named(base_url: str) -> None:
    async with OpenAIPolicy(base_url=base_url, thinking_in_prompt=False) as policy:
        with pytest.raises(ContextTooLong, match="1024"):
            await policy.respond(ask("rain " * 3000))


@pytest.mark.parametrize("row", ROWS)
async def test_it_does_what_the_conformance_table_says(row: str, base_url: str) -> None:
    def make() -> OpenAIPolicy:
        return OpenAIPolicy(base_url=base_url, prefill="continue", thinking_in_prompt=False)

    assert await outcome(make, row) == read_table()[label(row)]["vLLM"]
