"""The `vllm` policy on the real engine, against forward passes of the same weights."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

import warmline.testing
from warmline.core.errors import (
    BadRequest,
    ConfigError,
    ContextTooLong,
    EngineUnavailable,
    UnreadableReply,
    Unsupported,
)
from warmline.policies import Message, Request, Sampling
from warmline.policies.answers import misfit
from warmline.policies.base import FinishReason, Reply, ScoringPolicy, Usage
from warmline.policies.concurrency import open_conversations
from warmline.policies.text.sentences import limit_reached
from warmline.policies.vllm.engine import ENGINES
from warmline.policies.vllm.policy import VLLMPolicy
from warmline.policies.vllm.requests import OpenModel
from warmline.policies.wrappers import Limit

from . import vllm_models

pytestmark = [
    pytest.mark.skipif(
        find_spec("vllm") is None,
        reason="vLLM is not installed; `make test-vllm` tests it in an environment of its own",
    ),
    pytest.mark.timeout(600),
]

CONTEXT = 1024
SETTINGS: dict[str, Any] = {
    "dtype": "float32",
    "max_model_len": CONTEXT,
    "max_loras": 2,
    "max_lora_rank": 8,
    "engine_args": {"kv_cache_memory_bytes": 2**30, "max_num_seqs": 32},
}
GREEDY = Sampling(temperature=0, max_tokens=24)
WARM = Sampling(temperature=0.8, top_p=0.95, max_tokens=32)
FEELINGS = ("work", "my cat", "rain", "exams", "money", "noise", "my boss", "the news")


def ask(text: str = "I feel sad because of the rain.", **fields: Any) -> Request:
    messages = (Message("system", "You listen kindly."), Message("user", text))
    return Request(messages, **{"sampling": GREEDY, **fields})


@pytest.fixture(scope="module")
def base() -> Path:
    return vllm_models.smollm()


@pytest.fixture(scope="module")
def adapters(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("adapters")
    return (
        vllm_models.save_lora(folder / "warm", base, seed=1),
        vllm_models.save_lora(folder / "calm", base, seed=2),
    )


@pytest.fixture(scope="module")
def policy(base: Path) -> Iterator[VLLMPolicy]:
    """One for all tests; the engine lives in a thread of its own, not in a test's event loop."""
    policy = VLLMPolicy(base, **SETTINGS)
    asyncio.run(policy.open())
    yield policy
    asyncio.run(policy.aclose())
    assert not ENGINES


def opened_by(policy: VLLMPolicy) -> OpenModel:
    assert policy._opened is not None
    return policy._opened


def used(reply: Reply) -> Usage:
    assert reply.usage is not None
    return reply.usage


@pytest.mark.parametrize("check", warmline.testing.POLICY_CHECKS)
async def test_the_contract(policy: VLLMPolicy, base: Path, check: str) -> None:
    if check == "repeats_a_seed":
        pytest.skip("seeds hold with `deterministic` only, see test_engine.py")
    await warmline.testing.check_policy(lambda: VLLMPolicy(base, **SETTINGS), check)


# log-probabilities


def prompt_of(policy: VLLMPolicy, request: Request) -> list[int]:
    return list(opened_by(policy).writer.write(request).tokens)


async def test_generated_tokens_have_the_models_own_logprobs(
    policy: VLLMPolicy, base: Path
) -> None:
    hot = Sampling(temperature=1.7, top_k=50, repetition_penalty=1.3, max_tokens=20)
    model = vllm_models.load(base)
    for sampling in (GREEDY, hot):
        request = ask(logprobs=True, sampling=sampling, seed=3)
        reply = await policy.respond(request)
        assert reply.logprobs
        encode = opened_by(policy).engine.llm.get_tokenizer().encode
        tokens = [t for part in reply.logprobs for t in encode(part.token)]
        if len(tokens) != len(reply.logprobs):
            pytest.skip("a token that does not stand for itself was drawn")
        expected = vllm_models.logprobs(model, prompt_of(policy, request), tokens)
        assert [part.logprob for part in reply.logprobs] == pytest.approx(expected, abs=1e-3)
        assert "".join(part.token for part in reply.logprobs).strip() == reply.text


@pytest.mark.parametrize(
    "text", ["I am sorry to hear that.", " Nimmst du mich mit? 😊 我很难过", "x"]
)
async def test_a_given_text_is_scored_as_a_forward_pass_scores_it(
    policy: VLLMPolicy, base: Path, text: str
) -> None:
    assert isinstance(policy, ScoringPolicy)
    request = ask(sampling=Sampling(temperature=0.3, repetition_penalty=2.0), choices=("a", "b"))
    scored = await policy.score(request, text)
    encode = opened_by(policy).engine.llm.get_tokenizer().encode
    given = encode(text)
    expected = vllm_models.logprobs(vllm_models.load(base), prompt_of(policy, request), given)
    assert [token.logprob for token in scored] == pytest.approx(expected, abs=1e-3)


async def test_an_empty_text_scores_nothing(policy: VLLMPolicy) -> None:
    assert await policy.score(ask(), "") == ()


# adapters


async def test_adapters_share_the_engine_and_answer_side_by_side(
    policy: VLLMPolicy, base: Path, adapters: tuple[Path, Path]
) -> None:
    warm, calm = (VLLMPolicy(base, adapter=folder, **SETTINGS) for folder in adapters)
    again = VLLMPolicy(adapters[0], **SETTINGS)  # the base is found through the adapter
    async with warm, calm, again:
        assert len(ENGINES) == 1
        assert opened_by(warm).adapter.lora_int_id == opened_by(again).adapter.lora_int_id
        text = "I am so sorry that it rains."
        seats: list[tuple[VLLMPolicy, Path | None]] = [
            (policy, None), (warm, adapters[0]), (calm, adapters[1])
        ]  # fmt: skip
        scores = await asyncio.gather(*(seat.score(ask(), text) for seat, _ in seats))
        given = opened_by(policy).engine.llm.get_tokenizer().encode(text)
        for scored, (_, adapter) in zip(scores, seats, strict=True):
            model = vllm_models.load(base, adapter)
            expected = vllm_models.logprobs(model, prompt_of(policy, ask()), given)
            assert [token.logprob for token in scored] == pytest.approx(expected, abs=2e-3)
        assert len({round(sum(token.logprob for token in scored), 1) for scored in scores}) == 3
        replies = await asyncio.gather(*(seat.respond(ask(logprobs=True)) for seat, _ in seats))
        first = [reply.logprobs[0].logprob for reply in replies if reply.logprobs]
        assert len({round(value, 2) for value in first}) == 3
        assert (await again.respond(ask())).text == replies[1].text
        assert [reply.policy for reply in replies] == [
            "vllm:SmolLM2-135M-Instruct", "vllm:warm", "vllm:calm"
        ]  # fmt: skip
    loaded = await opened_by(policy).engine.run(opened_by(policy).engine.llm.list_loras)
    assert not loaded


async def test_an_adapter_that_does_not_fit_is_refused(
    policy: VLLMPolicy, base: Path, tmp_path: Path
) -> None:
    folder = vllm_models.save_lora(tmp_path / "wide", base, seed=1)
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "r": 64}))
    with pytest.raises(ConfigError, match=r"cannot attach the adapter 'wide'.*rank"):
        await VLLMPolicy(base, adapter=folder, **SETTINGS).open()
    assert (await policy.respond(ask())).text


async def test_an_adapter_with_weights_beside_lora_is_refused(base: Path, tmp_path: Path) -> None:
    """vLLM drops them in silence, or puts them over the base's for every request."""
    import torch
    from safetensors.torch import load_file, save_file

    folder = vllm_models.save_lora(tmp_path / "head", base, seed=1)
    file = folder / "adapter_model.safetensors"
    save_file(load_file(file) | {"base_model.model.lm_head.weight": torch.zeros(2, 2)}, file)
    with pytest.raises(ConfigError, match="one plain LoRA adapter to a base, and this is another"):
        await VLLMPolicy(base, adapter=folder, **SETTINGS).open()


def test_it_says_how_much_it_computes_at_once(policy: VLLMPolicy, base: Path) -> None:
    """32 by its scheduler, or fewer where the cache holds fewer contexts of 1024 tokens."""
    assert VLLMPolicy(base, **SETTINGS).requests_at_once is None
    config = opened_by(policy).engine.llm.vllm_config.cache_config
    held = config.num_gpu_blocks * config.block_size // CONTEXT
    assert policy.requests_at_once == min(32, held) > 8
    tokens = config.num_gpu_blocks * config.block_size
    assert policy.conversations_held == tokens // 2560
    assert open_conversations([Limit(policy, requests_per_minute=1)]) == min(40, tokens // 2560)


def test_a_forked_process_gets_an_error_and_no_hang(policy: VLLMPolicy) -> None:
    read, write = os.pipe()
    if not (child := os.fork()):
        try:
            asyncio.run(policy.respond(ask()))
        except EngineUnavailable as error:
            os.write(write, str(error).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 1000).startswith(b"vLLM's engine was opened in process")
    assert asyncio.run(policy.respond(ask())).text


# bound answers

ODD_OPTIONS = ("Question", "Question, again", 'say "no" \\ or\n\tso', "安慰 😊", "{x|y}* [z]")


@pytest.mark.parametrize("option", ODD_OPTIONS)
async def test_every_option_can_be_answered_word_for_word(policy: VLLMPolicy, option: str) -> None:
    only = await policy.respond(ask(choices=(option,), sampling=Sampling(max_tokens=1)))
    assert (only.text, only.finish_reason) == (option, FinishReason.CHOICE)


async def test_choices_are_always_among_the_options(policy: VLLMPolicy) -> None:
    hot = Sampling(temperature=1.9, max_tokens=1)
    replies = await asyncio.gather(
        *(policy.respond(ask(choices=ODD_OPTIONS, sampling=hot, seed=n)) for n in range(24))
    )
    assert {reply.text for reply in replies} <= set(ODD_OPTIONS)
    assert len({reply.text for reply in replies}) > 1
    assert all(reply.attempts == 1 for reply in replies)


async def test_json_fits_its_schema_and_holds_no_blank_runs(policy: VLLMPolicy) -> None:
    schema = {
        "type": "object",
        "properties": {
            "score": {"type": "integer"},
            "why": {"type": "string", "maxLength": 30},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "maxItems": 2},
        },
        "required": ["score", "why", "tags"],
        "additionalProperties": False,
    }
    warm = Sampling(temperature=1.0)
    replies = await asyncio.gather(
        *(policy.respond(ask(schema=schema, sampling=warm, seed=n)) for n in range(8))
    )
    for reply in replies:
        assert misfit(json.loads(reply.text), schema) is None
        assert "\n" not in reply.text
        assert reply.finish_reason is FinishReason.STOP


async def test_json_that_is_cut_off_is_asked_for_again_and_then_refused(
    policy: VLLMPolicy,
) -> None:
    schema = {"type": "object", "properties": {"why": {"type": "string"}}, "required": ["why"]}
    short = Sampling(max_tokens=3)
    with pytest.raises(UnreadableReply, match="asked 3 times"):
        await policy.respond(ask(schema=schema, sampling=short, seed=1))


async def test_a_schema_that_vllm_cannot_enforce_is_refused(policy: VLLMPolicy) -> None:
    odd = {"type": "object", "properties": {"n": {"type": "number", "multipleOf": 0.3}}}
    with pytest.raises(BadRequest, match="vLLM refuses"):
        await policy.respond(ask(schema=odd))


async def test_options_that_exclude_each_other_are_refused(policy: VLLMPolicy) -> None:
    with pytest.raises(Unsupported, match="choices and prefill together"):
        await policy.respond(ask(choices=("a",), prefill="I"))
    with pytest.raises(Unsupported, match="at least one option"):
        await policy.respond(ask(choices=()))
    with pytest.raises(Unsupported, match="empty option"):
        await policy.respond(ask(choices=("a", "")))


# free answers


async def test_sentences_end_at_the_same_token_however_busy_the_engine(
    policy: VLLMPolicy,
) -> None:
    requests = [
        ask(f"I feel sad because of {what}.", max_sentences=1, logprobs=True,
            sampling=Sampling(temperature=0, max_tokens=120))
        for what in FEELINGS
    ]  # fmt: skip
    alone = [await policy.respond(request) for request in requests]
    together = await asyncio.gather(*(policy.respond(request) for request in requests))
    assert [reply.text for reply in together] == [reply.text for reply in alone]
    ended = [reply for reply in alone if reply.finish_reason is FinishReason.SENTENCES]
    assert len(ended) >= len(FEELINGS) // 2
    for reply in ended:
        assert reply.logprobs
        assert limit_reached(reply.text, 1)
        assert not limit_reached("".join(part.token for part in reply.logprobs[:-1]), 1)
        assert used(reply).completion_tokens < 120
    full = await policy.respond(dataclasses.replace(requests[0], max_sentences=None))
    assert full.text.startswith(alone[0].text)


async def test_an_answer_goes_on_from_its_prefill(policy: VLLMPolicy) -> None:
    reply = await policy.respond(ask(prefill="It sounds as if "))
    assert reply.text.startswith("It sounds as if ")
    assert not reply.text.startswith("It sounds as if  ")
    assert len(reply.text) > len("It sounds as if ") + 10


@pytest.mark.parametrize(
    "almost_greedy",
    [
        Sampling(temperature=1.0, top_k=1),
        Sampling(temperature=1.0, top_p=1e-6),
        Sampling(temperature=1.0, min_p=0.999),
        Sampling(temperature=0.01),
    ],
    ids=["top_k", "top_p", "min_p", "temperature"],
)
async def test_each_sampling_setting_narrows_the_draw(
    policy: VLLMPolicy, almost_greedy: Sampling
) -> None:
    greedy = await policy.respond(ask())
    narrow = dataclasses.replace(almost_greedy, max_tokens=24)
    for seed in (1, 2):
        assert (await policy.respond(ask(sampling=narrow, seed=seed))).text == greedy.text
    free = await policy.respond(ask(sampling=Sampling(temperature=1.5, max_tokens=24), seed=1))
    assert free.text != greedy.text


async def test_the_repetition_penalty_forbids_what_was_said(policy: VLLMPolicy) -> None:
    harsh = Sampling(temperature=0, repetition_penalty=10.0, max_tokens=24)
    reply = await policy.respond(ask("Say rain rain rain rain.", sampling=harsh, logprobs=True))
    tokens = [part.token for part in reply.logprobs or ()]
    assert len(set(tokens)) == len(tokens)
    assert " rain" not in tokens


async def test_max_tokens_is_kept_and_has_a_default(policy: VLLMPolicy) -> None:
    short = await policy.respond(ask(sampling=Sampling(temperature=0, max_tokens=5)))
    assert (used(short).completion_tokens, short.finish_reason) == (5, FinishReason.LENGTH)
    story = ask("Tell me a very long story about a boat.", sampling=Sampling(temperature=0))
    assert 16 < used(await policy.respond(story)).completion_tokens <= 256


@pytest.mark.parametrize("temperature", [0.001, 3.0])
async def test_a_temperature_that_vllm_would_change_is_refused(
    policy: VLLMPolicy, temperature: float
) -> None:
    with pytest.raises(BadRequest, match="vLLM"):
        await policy.respond(ask(sampling=Sampling(temperature=temperature)))


async def test_other_seeds_give_other_answers(policy: VLLMPolicy) -> None:
    texts = {(await policy.respond(ask(sampling=WARM, seed=n))).text for n in range(-2, 3)}
    assert len(texts) == 5


async def test_a_prompt_served_from_the_cache_is_counted(policy: VLLMPolicy) -> None:
    request = ask("I remember the garden behind the house, and the apple trees. " * 5)
    first, second = await policy.respond(request), await policy.respond(request)
    assert 64 < used(first).prompt_tokens == used(second).prompt_tokens < 128
    assert used(second).cached_tokens >= 64 > used(first).cached_tokens
    assert second.text == first.text


async def test_a_prompt_that_does_not_fit_is_refused_with_both_numbers(
    policy: VLLMPolicy,
) -> None:
    room = CONTEXT - 1 - len(prompt_of(policy, ask("", prefill="I")))
    fits, long = (ask(" a" * count, prefill="I") for count in (room, room + 1))
    assert len(prompt_of(policy, fits)) == CONTEXT - 1
    assert used(await policy.respond(fits)).completion_tokens == 1
    with pytest.raises(ContextTooLong) as told:
        await policy.respond(long)
    assert (told.value.prompt_tokens, told.value.context_tokens) == (CONTEXT, CONTEXT)
    with pytest.raises(ContextTooLong):
        await policy.score(fits, " b")
    bound = ask(" a" * room, choices=("Reflection of Feelings",))
    with pytest.raises(ContextTooLong):  # the option begins and cannot be finished
        await policy.respond(bound)


async def test_a_cancelled_request_leaves_the_engine(policy: VLLMPolicy) -> None:
    story = ask("Tell me a very long story.", sampling=Sampling(max_tokens=900, temperature=1.0))
    tasks = [asyncio.create_task(policy.respond(story)) for _ in range(8)]
    await asyncio.sleep(1)
    open_requests = opened_by(policy).engine.llm.output_processor.get_num_unfinished_requests
    assert open_requests() >= 4
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    waited = time.monotonic()
    while open_requests() and time.monotonic() - waited < 5:
        await asyncio.sleep(0.05)
    assert open_requests() == 0


async def test_no_message_at_all_is_refused(policy: VLLMPolicy) -> None:
    with pytest.raises(BadRequest, match="no messages"):
        await policy.respond(Request((), sampling=GREEDY))
