"""Draws follow the settings, and each request its own seed."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra `transformers` is not installed")

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import warmline
from warmline.core.errors import EngineUnavailable
from warmline.policies import Sampling
from warmline.policies.hf.policy import TransformersPolicy

from .asking import TALKS, WARM, ask, plain_prompt, together


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize("prefix_cache_gb", [0, 1])
async def test_a_seed_gives_one_text_at_any_concurrency(
    llama: Path, deterministic: bool, prefix_cache_gb: float
) -> None:
    requests = [
        ask(talk, sampling=WARM, seed=seed, logprobs=True) for talk in TALKS for seed in (1, 2)
    ]
    async with TransformersPolicy(
        llama, max_batch=16, deterministic=deterministic, prefix_cache_gb=prefix_cache_gb
    ) as policy:
        alone = [await policy.respond(request) for request in requests]
        crowd = await asyncio.gather(*map(policy.respond, reversed(requests)))
    for one, other in zip(alone, reversed(crowd), strict=True):
        assert one.text == other.text
        assert one.logprobs == other.logprobs  # to the last bit
    assert len({reply.text for reply in alone}) > len(TALKS)


async def test_the_penalty_knows_what_was_just_written(llama: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(llama).eval()
    tokenizer = AutoTokenizer.from_pretrained(llama)
    sampling = Sampling(temperature=0, repetition_penalty=1.8, max_tokens=40)
    async with TransformersPolicy(llama) as policy:
        texts = await together(policy, [ask(talk, sampling=sampling) for talk in TALKS])
    for talk, text in zip(TALKS, texts, strict=True):
        prompt = plain_prompt(llama, talk)
        with torch.inference_mode():
            written = model.generate(
                prompt, max_new_tokens=40, do_sample=False, repetition_penalty=1.8
            )
        behind = written[0, prompt.shape[1] :]
        assert text == tokenizer.decode(behind, skip_special_tokens=True).strip()


async def test_without_a_seed_texts_differ(llama: Path) -> None:
    async with TransformersPolicy(llama) as policy:
        texts = await together(policy, [ask("Hi", sampling=WARM) for _ in range(6)])
    assert len(set(texts)) > 1


def answer_for(sampling: Sampling, seed: int = 0, prompt: tuple[int, ...] = ()) -> Any:
    from warmline.policies.hf.answers import Answer

    return Answer(
        tokenizer=None, prompt=prompt, before=(), prefill="",
        sampling=sampling, seed=seed, stop_tokens=frozenset(), max_sentences=None, logprobs=False,
    )  # fmt: skip


def drawn(logits: Any, sampling: Sampling, n: int = 4000, **options: Any) -> Any:
    """How often each token is drawn, `(vocabulary,)`."""
    from warmline.policies.hf.sampling import next_tokens

    answers = [answer_for(sampling, seed, **options) for seed in range(n)]
    tokens = next_tokens(logits.expand(n, -1).clone(), answers)
    return torch.bincount(torch.tensor(tokens), minlength=logits.shape[-1]) / n


@pytest.mark.parametrize(
    "setting",
    [
        Sampling(temperature=1.0),
        Sampling(temperature=0.5),
        Sampling(temperature=2.0, top_k=7),
        Sampling(temperature=1.0, top_p=0.6),
        Sampling(temperature=1.5, top_k=12, top_p=0.8),
        Sampling(temperature=1.0, min_p=0.2),
        Sampling(temperature=1.0, repetition_penalty=3.0),
    ],
    ids=lambda s: "-".join(f"{k}{v}" for k, v in s.as_dict().items()),
)
def test_draws_follow_the_distribution_that_generate_would_use(setting: Sampling) -> None:
    from transformers.generation import logits_process as processors

    logits = torch.randn(1, 40, generator=torch.Generator().manual_seed(3)) * 2
    seen = (1, 5, int(logits.argmax()), 9)
    expected = logits
    if penalty := setting.repetition_penalty:
        expected = processors.RepetitionPenaltyLogitsProcessor(penalty)(
            torch.tensor([seen]), expected
        )
    expected = processors.TemperatureLogitsWarper(setting.temperature)(None, expected)
    for option, warper in (
        ("top_k", processors.TopKLogitsWarper),
        ("top_p", processors.TopPLogitsWarper),
        ("min_p", processors.MinPLogitsWarper),
    ):
        if value := getattr(setting, option):
            expected = warper(value)(None, expected)
    expected = expected.softmax(-1)[0]
    found = drawn(logits, setting, prompt=seen)
    assert not found[expected == 0].any()
    assert float((found - expected).abs().sum()) < 0.12  # 4000 draws over at most 40 tokens


def test_a_nucleus_beyond_the_first_thousand_is_found() -> None:
    logits = torch.zeros(1, 5000)
    logits[0, 4000:] = -1.0
    found = drawn(logits, Sampling(temperature=1.0, top_p=0.5), n=3000)
    mass = 4000 / (4000 + 1000 * 2.718281828**-1)
    assert float(found[:4000].sum()) == 1.0
    assert int((found > 0).sum()) > 1024  # more than the part that is sorted first
    assert mass > 0.5


def test_a_row_is_drawn_alike_whatever_stands_beside_it() -> None:
    from warmline.policies.hf.sampling import next_tokens

    logits = torch.randn(6, 3000, generator=torch.Generator().manual_seed(1)) * 3
    settings = [
        Sampling(temperature=1.0, top_p=0.9),
        Sampling(temperature=0.0),
        Sampling(temperature=0.7, top_k=20),
        Sampling(temperature=1.3, min_p=0.05, repetition_penalty=1.5),
        Sampling(temperature=1.0),
        Sampling(temperature=5.0, top_p=0.99),
    ]
    alone = [
        next_tokens(logits[n : n + 1], [answer_for(setting, n)])[0]
        for n, setting in enumerate(settings)
    ]
    assert next_tokens(logits, [answer_for(s, n) for n, s in enumerate(settings)]) == alone


async def test_a_model_that_computes_nonsense_is_reported(llama: Path) -> None:
    async with TransformersPolicy(llama) as policy:
        model = policy._opened.engine._model.model
        good = model.lm_head.weight.data.clone()
        model.lm_head.weight.data[:] = float("nan")
        tasks = [asyncio.create_task(policy.respond(ask(talk))) for talk in TALKS]
        for failed in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(failed, EngineUnavailable)
            assert "undefined logits" in failed.message
        model.lm_head.weight.data[:] = good
        assert (await policy.respond(ask("Hi"))).text  # the engine goes on


async def test_episodes_are_the_same_at_concurrency_1_and_16(llama: Path) -> None:
    def template(question: str) -> str:
        return (
            f"{{% block system %}}Talk.{{% endblock %}}{{% block note %}}{question}{{% endblock %}}"
        )

    async def play(concurrency: int) -> list[dict[str, Any]]:
        policy = TransformersPolicy(llama, device="cpu", threads=1, deterministic=True)
        few = Sampling(max_tokens=6)
        environment = warmline.SupportEnvironment(
            seeker=warmline.Seeker(policy, template=template(""), sampling=few),
            counselor=warmline.StrategyCounselor(policy, template=template("Which?")),
            supporter=warmline.Supporter(policy, template=template(""), sampling=few),
            judger=None,
            max_turns=4,
            history_window=2,
        )
        async with environment:
            episodes = await warmline.run_batch(
                environment, warmline.draw_scenarios(16, seed=3), concurrency=concurrency, seed=3
            )
        assert all(episode.error is None for episode in episodes)
        # what a prefix cache held depends on who came before
        return [episode.content() for episode in episodes]

    assert await play(1) == await play(16)
