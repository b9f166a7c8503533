"""Batches give the texts that transformers gives one by one; prefixes are reused."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `transformers` is not installed")

import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from warmline.core.errors import BadRequest, EngineUnavailable
from warmline.policies import Sampling
from warmline.policies.hf.policy import TransformersPolicy
from warmline.policies.text.sentences import count_sentences

from .. import tiny_models
from .asking import TALKS, ask, plain_greedy, together


@pytest.mark.parametrize("kind", ["llama", "mistral", "gemma3"])
@pytest.mark.parametrize("max_batch", [1, 3, 8])
async def test_greedy_text_is_generates(folders: Path, kind: str, max_batch: int) -> None:
    model = AutoModelForCausalLM.from_pretrained(folders / kind).eval()
    async with TransformersPolicy(folders / kind, max_batch=max_batch) as policy:
        texts = await together(policy, [ask(talk) for talk in TALKS])
        again = await together(policy, [ask(talk) for talk in TALKS])  # now with known prefixes
    assert texts == [plain_greedy(model, folders / kind, talk) for talk in TALKS]
    assert again == texts


@pytest.mark.parametrize("kind", ["mistral", "gemma3"])
async def test_eager_attention_sees_the_same(folders: Path, kind: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(folders / kind).eval()
    async with TransformersPolicy(folders / kind) as policy:
        policy._opened.engine._model.model.set_attn_implementation("eager")
        texts = await together(policy, [ask(talk) for talk in TALKS])
    assert texts == [plain_greedy(model, folders / kind, talk) for talk in TALKS]


@pytest.mark.parametrize("kind", ["llama", "gemma3"])
async def test_prompts_computed_together_as_on_a_gpu(folders: Path, kind: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(folders / kind).eval()
    async with TransformersPolicy(folders / kind) as policy:
        loop = policy._opened.engine._loop
        loop._prompts_together, loop._block = 4, 16
        loop._prefixes.block = 16
        for _ in range(2):  # the second time some prefixes are known, of different lengths
            texts = await together(policy, [ask(talk) for talk in TALKS])
            assert texts == [plain_greedy(model, folders / kind, talk) for talk in TALKS]
        mixed = [ask(TALKS[n % 8] + " Tell me more." * n) for n in range(12)]
        texts = await together(policy, mixed)
    expected = [plain_greedy(model, folders / kind, r.messages[0].content) for r in mixed]
    assert texts == expected


async def test_joining_a_running_batch_changes_no_text(llama: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(llama).eval()
    long = ask(TALKS[1], sampling=Sampling(temperature=0, max_tokens=200))
    async with TransformersPolicy(llama, max_batch=4) as policy:
        running = asyncio.create_task(policy.respond(long))
        while not policy._opened.engine._loop._rows:
            await asyncio.sleep(0)
        joined = []
        for talk in TALKS:
            joined.append(asyncio.create_task(policy.respond(ask(talk))))
            await asyncio.sleep(0.002)
        texts = [(await task).text for task in joined]
        assert (await running).text == plain_greedy(model, llama, TALKS[1], 200)
    assert texts == [plain_greedy(model, llama, talk) for talk in TALKS]


async def test_a_request_that_cannot_be_computed_fails_alone(llama: Path, tmp_path: Path) -> None:
    """A token beyond the embedding, and one of which the model makes numbers that are none."""
    model = AutoModelForCausalLM.from_pretrained(llama).eval()
    tokenizer = AutoTokenizer.from_pretrained(llama)
    tokenizer.add_tokens(["zqzq"])
    (broken,) = tokenizer("{", add_special_tokens=False)["input_ids"]
    expected = [plain_greedy(model, llama, talk) for talk in TALKS]
    model.model.embed_tokens.weight.data[broken] = float("nan")
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    nan = "{ no " * 30
    async with TransformersPolicy(tmp_path) as policy:
        for odd, choices in (("zqzq", None), (nan, None), (nan, ("yes", "no"))):
            requests = [ask(talk) for talk in TALKS]
            requests[4:4] = [ask(odd, choices=choices)]  # the next to get its slot is short
            replies = await asyncio.gather(*map(policy.respond, requests), return_exceptions=True)
            failed = replies.pop(4)
            assert [reply.text for reply in replies] == expected
            if odd == "zqzq":
                assert isinstance(failed, BadRequest)
                assert "of 'zqzq', but the model knows only" in failed.message
            else:
                assert isinstance(failed, EngineUnavailable)
                assert not failed.retryable
                assert "undefined logits in float32" in failed.message
        # a slot in which nothing was defined is as good as new
        assert await together(policy, [ask(talk) for talk in TALKS]) == expected


@pytest.mark.parametrize("kind", ["blenderbot", "t5"])
async def test_encoder_decoder_models_answer_in_batches(folders: Path, kind: str) -> None:
    model = AutoModelForSeq2SeqLM.from_pretrained(folders / kind).eval()
    tokenizer = AutoTokenizer.from_pretrained(folders / kind)
    lengths = [3, 24, 8, 24, 1, 16, 24, 5]

    def plain(talk: str, tokens: int) -> str:
        prompt = tokenizer(talk, return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            written = model.generate(prompt, max_new_tokens=tokens, do_sample=False)
        return str(tokenizer.decode(written[0], skip_special_tokens=True)).strip()

    requests = [
        ask(talk, sampling=Sampling(temperature=0, max_tokens=tokens))
        for talk, tokens in zip(TALKS, lengths, strict=True)
    ]
    async with TransformersPolicy(folders / kind, max_batch=5) as policy:
        texts = await together(policy, requests)
    assert texts == [plain(t, n) for t, n in zip(TALKS, lengths, strict=True)]


async def test_known_prefixes_are_not_computed_again(llama: Path) -> None:
    talk = "Everything is too much! " * 8
    async with (
        TransformersPolicy(llama) as policy,
        TransformersPolicy(llama, prefix_cache_gb=0) as forgetful,
    ):
        first = await policy.respond(ask(talk))
        grown = await policy.respond(ask(talk + TALKS[5]))
        assert (await forgetful.respond(ask(talk))).text == first.text
        cold = await forgetful.respond(ask(talk + TALKS[5]))
    assert first.usage.cached_tokens == cold.usage.cached_tokens == 0
    assert grown.usage.cached_tokens == (first.usage.prompt_tokens // 64) * 64 > 0
    assert grown.text == cold.text


def test_the_prefix_store_keeps_its_bound() -> None:
    from warmline.policies.hf.cache import RowCache
    from warmline.policies.hf.prefixes import PrefixStore

    cache = RowCache(1)
    cache.resize(2, 64)
    cache.chunk(0, 1, 0)
    keys = torch.arange(64.0).reshape(1, 1, 64, 1)
    cache.update(keys, -keys, 0)
    store = PrefixStore(block=8, max_bytes=10 * 2 * 8 * 4)
    first, second = list(range(64)), list(range(100, 164))
    store.save(cache, 0, first, "a")
    assert store.load(cache, 1, first, "b") == 0  # another adapter
    assert store.load(cache, 1, [*first[:40], 7, *first[41:]], "a") == 40
    assert cache.read(1, 0, 40)[0].flatten().tolist() == list(range(40))
    store.save(cache, 0, second, "a")
    assert store.n_bytes <= store.max_bytes
    assert store.load(cache, 1, second, "a") == 56  # the last token is always computed
    assert store.load(cache, 1, first, "a") == 16  # what was longest unused went, from the end


def test_text_grows_by_whole_characters() -> None:
    from warmline.policies.hf.answers import Detokenizer

    tokenizer = tiny_models.make_tokenizer()
    text = "Olá 我很难过 🧑‍🧑‍🧒😊 — I feel tired."
    growing = Detokenizer(tokenizer, tokenizer("before ")["input_ids"])
    shown = ""
    for token in tokenizer(text, add_special_tokens=False)["input_ids"]:
        growing.add(token)
        assert growing.text.startswith(shown)
        assert "\N{REPLACEMENT CHARACTER}" not in growing.text
        shown = growing.text
    assert growing.finish() == text
    cut = Detokenizer(tokenizer, ())
    cut.add(tokenizer("😊", add_special_tokens=False)["input_ids"][0])
    assert cut.text == ""
    assert cut.finish() == "\N{REPLACEMENT CHARACTER}"


@pytest.fixture(scope="module")
def smollm() -> Path:
    """Read from its GGUF file by `load`, once on a machine: that takes 20 s of CPU."""
    from warmline.core.errors import PolicyError
    from warmline.training.loop.base_model import embedded_folder

    try:
        return embedded_folder()
    except PolicyError as error:
        pytest.skip(f"no weights of the embedded model here: {error.message}")


@pytest.mark.embedded
async def test_the_real_model(smollm: Path) -> None:
    sampling = Sampling(temperature=0.7, top_p=0.9, repetition_penalty=1.15, max_tokens=12)
    requests = [ask(talk, sampling=sampling, seed=7, max_sentences=1) for talk in TALKS[:2]]
    async with TransformersPolicy(smollm, threads=1, dtype="float32") as policy:
        crowd = await asyncio.gather(*map(policy.respond, requests))
        alone = [await policy.respond(request) for request in requests]
        likely = await policy.score(ask("What is the capital of France?"), "The capital is Paris.")
        unlikely = await policy.score(ask("What is the capital of France?"), "The capital is soup.")
    assert [reply.text for reply in crowd] == [reply.text for reply in alone]
    assert all(count_sentences(reply.text) <= 2 for reply in crowd)
    assert sum(e.logprob for e in likely) > sum(e.logprob for e in unlikely)
