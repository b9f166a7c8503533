"""Every option of a request, against independent passes of the same models."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `transformers` is not installed")

import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from warmline.core.errors import BadRequest, Unsupported
from warmline.policies import Sampling
from warmline.policies.answers import misfit
from warmline.policies.base import FinishReason, ScoringPolicy, TokenLogprob
from warmline.policies.hf.policy import TransformersPolicy
from warmline.policies.text.sentences import limit_reached

from .asking import GREEDY, TALKS, ask, plain_logprobs, plain_prompt


async def test_an_answer_stops_at_the_sentence_cap(llama: Path) -> None:
    sampling = Sampling(temperature=1.0, max_tokens=150)
    async with TransformersPolicy(llama) as policy:
        replies = await asyncio.gather(
            *[
                policy.respond(ask("Hi", sampling=sampling, seed=n, max_sentences=1, logprobs=True))
                for n in range(24)
            ]
        )
        free = await asyncio.gather(
            *[policy.respond(ask("Hi", sampling=sampling, seed=n)) for n in range(24)]
        )
    capped = [r for r in replies if r.finish_reason is FinishReason.SENTENCES]
    assert capped
    for reply, whole in zip(replies, free, strict=True):
        assert whole.text.startswith(reply.text.rstrip("\N{REPLACEMENT CHARACTER}"))
        if reply.finish_reason is FinishReason.SENTENCES:
            assert limit_reached(reply.text + "\n", 1)  # a last line break was stripped
            assert reply.usage.completion_tokens < whole.usage.completion_tokens
        else:
            assert reply.text == whole.text


async def test_the_prefill_begins_the_answer_and_conditions_it(llama: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(llama).eval()
    tokenizer = AutoTokenizer.from_pretrained(llama)
    begun = torch.tensor([tokenizer("I feel", add_special_tokens=False)["input_ids"]])
    prompt = torch.cat([plain_prompt(llama, "Hi"), begun], dim=1)
    with torch.inference_mode():
        written = model.generate(prompt, max_new_tokens=24, do_sample=False)
    continued = tokenizer.decode(written[0, prompt.shape[1] :], skip_special_tokens=True)
    async with TransformersPolicy(llama) as policy:
        reply = await policy.respond(ask("Hi", prefill="I feel"))
        spaced = await policy.respond(ask("Hi", prefill="I feel "))
    assert reply.text == ("I feel" + continued).strip()
    assert spaced.text == ("I feel " + continued.lstrip()).strip()
    assert reply.usage.prompt_tokens == prompt.shape[1]


async def test_max_tokens_and_the_end_token_are_told_apart(llama: Path) -> None:
    requests = [
        ask("Hi", sampling=Sampling(temperature=1.0, max_tokens=60), seed=n) for n in range(20)
    ]
    async with TransformersPolicy(llama) as policy:
        replies = await asyncio.gather(*map(policy.respond, requests))
    reasons = {reply.finish_reason for reply in replies}
    assert reasons == {FinishReason.STOP, FinishReason.LENGTH}
    for reply in replies:
        full = reply.usage.completion_tokens == 60
        assert full == (reply.finish_reason is FinishReason.LENGTH)


@pytest.mark.parametrize("kind", ["llama", "blenderbot"])
async def test_schema_answers_fit(folders: Path, kind: str) -> None:
    pytest.importorskip("llguidance")
    schema = {
        "type": "object",
        "properties": {
            "strategy": {"type": "string", "enum": ["Question", "Self-disclosure"]},
            "reason": {"type": "string", "maxLength": 10},
            "sure": {"type": "boolean"},
        },
        "required": ["strategy", "reason", "sure"],
        "additionalProperties": False,
    }
    sampling = Sampling(temperature=1.0, max_tokens=300)
    async with TransformersPolicy(folders / kind) as policy:
        assert policy.capabilities.schema
        requests = [ask("Hi", schema=schema, seed=n, sampling=sampling) for n in range(8)]
        requests += [ask("Hi", sampling=GREEDY)]  # unbound beside them
        replies = await asyncio.gather(*map(policy.respond, requests))
        with pytest.raises(BadRequest, match="schema cannot be used"):
            await policy.respond(ask("Hi", schema={"type": "spaceship"}))
    assert len({reply.text for reply in replies}) > 2
    for reply in replies[:-1]:
        assert misfit(json.loads(reply.text), schema) is None


async def test_choices_are_scored_by_the_whole_answer(llama: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(llama).eval()
    options = ("Question", "Question, please", "Self-disclosure", "我很难过", "I")
    prompt = plain_prompt(llama, TALKS[0])
    expected = [
        sum(plain_logprobs(model, llama, prompt, option + "<|im_end|>")) for option in options
    ]
    async with TransformersPolicy(llama) as policy:
        reply = await policy.respond(ask(TALKS[0], choices=options, logprobs=True))
        drawn_ones = [
            (
                await policy.respond(
                    ask(TALKS[0], choices=options, seed=n, sampling=Sampling(temperature=5.0))
                )
            ).text
            for n in range(300)
        ]
    best = options[expected.index(max(expected))]
    assert (reply.text, reply.finish_reason) == (best, FinishReason.CHOICE)
    assert [entry.logprob for entry in reply.logprobs] == pytest.approx(
        plain_logprobs(model, llama, prompt, best), abs=1e-3
    )
    weights = (torch.tensor(expected) / 5.0).softmax(0)
    for option, weight in zip(options, weights.tolist(), strict=True):
        assert drawn_ones.count(option) / 300 == pytest.approx(weight, abs=0.1)


async def test_an_option_does_not_win_for_being_the_beginning_of_another(llama: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(llama).eval()
    picks, expected = [], []
    nested = [tuple("abcdefgh"[: n + 1] for n in range(k, k + 4)) for k in range(3)]
    async with TransformersPolicy(llama) as policy:
        for talk in TALKS:
            prompt = plain_prompt(llama, talk)
            for options in nested:
                scores = [
                    sum(plain_logprobs(model, llama, prompt, option + "<|im_end|>"))
                    for option in options
                ]
                expected.append(options[scores.index(max(scores))])
                picks.append((await policy.respond(ask(talk, choices=options))).text)
    assert picks == expected
    assert set(picks) - {options[0] for options in nested}  # without its ending the first wins


@pytest.mark.parametrize("kind", ["llama", "t5"])
async def test_normalization_lets_long_options_win(folders: Path, kind: str) -> None:
    options = ("no", "That sounds hard. Would you like to tell me more about it?")
    async with (
        TransformersPolicy(folders / kind) as plain,
        TransformersPolicy(folders / kind, choice_normalization="mean") as mean,
    ):
        picks = [
            [(await policy.respond(ask(talk, choices=options))).text for talk in TALKS]
            for policy in (plain, mean)
        ]
    assert picks[0] == ["no"] * len(TALKS)
    assert options[1] in picks[1]


@pytest.mark.parametrize("kind", ["llama", "gemma3", "blenderbot"])
async def test_score_is_a_plain_forward_pass(folders: Path, kind: str) -> None:
    folder, text = folders / kind, "That sounds hard. 我很难过。 Tell me more!"
    async with TransformersPolicy(folder) as policy:
        assert isinstance(policy, ScoringPolicy)
        scored = await asyncio.gather(*[policy.score(ask(talk), text) for talk in TALKS])
        assert await policy.score(ask("Hi"), "") == ()
        begun = await policy.score(ask("Hi", prefill="Well,"), " I see.")
    for talk, found in zip(TALKS, scored, strict=True):
        if kind == "blenderbot":
            expected = seq2seq_logprobs(folder, talk, text)
        else:
            model = AutoModelForCausalLM.from_pretrained(folder).eval()
            expected = plain_logprobs(model, folder, plain_prompt(folder, talk), text)
        assert [entry.logprob for entry in found] == pytest.approx(expected, abs=1e-3)
        assert "sound" in "".join(entry.token for entry in found)
    if kind != "blenderbot":
        whole = plain_logprobs(model, folder, plain_prompt(folder, "Hi"), "Well, I see.")
        assert [e.logprob for e in begun] == pytest.approx(whole[-len(begun) :], abs=1e-3)


def seq2seq_logprobs(folder: Path, talk: str, text: str) -> list[float]:
    model = AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    wanted = tokenizer(text, add_special_tokens=False)["input_ids"]
    start = model.config.decoder_start_token_id
    with torch.inference_mode():
        logits = model(
            input_ids=tokenizer(talk, return_tensors="pt")["input_ids"],
            decoder_input_ids=torch.tensor([[start, *wanted[:-1]]]),
        ).logits[0]
    return [float(row[t]) for row, t in zip(logits.log_softmax(-1), wanted, strict=True)]


async def test_logprobs_are_the_models_own(llama: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(llama).eval()
    request = ask(TALKS[0], sampling=Sampling(
        temperature=0.3, top_k=5, repetition_penalty=1.5, max_tokens=12), seed=4, logprobs=True)  # fmt: skip
    async with TransformersPolicy(llama) as policy:
        reply, plain = await asyncio.gather(
            policy.respond(request), policy.respond(ask(TALKS[0], sampling=GREEDY))
        )
        rescored = await policy.score(request, "".join(e.token for e in reply.logprobs))
    assert plain.logprobs is None
    assert all(isinstance(entry, TokenLogprob) for entry in reply.logprobs)
    assert len(reply.logprobs) == reply.usage.completion_tokens == 12
    text = "".join(entry.token for entry in reply.logprobs)
    expected = plain_logprobs(model, llama, plain_prompt(llama, TALKS[0]), text)
    if len(expected) == 12:  # the text splits into the same tokens again
        assert [e.logprob for e in reply.logprobs] == pytest.approx(expected, abs=1e-3)
        assert [e.logprob for e in rescored] == pytest.approx(expected, abs=1e-3)


async def test_what_cannot_be_honoured_is_refused(llama: Path) -> None:
    async with TransformersPolicy(llama) as policy:
        with pytest.raises(Unsupported, match="choices and prefill together"):
            await policy.respond(ask("Hi", choices=("a", "b"), prefill="I"))
        with pytest.raises(Unsupported, match="at least one option"):
            await policy.respond(ask("Hi", choices=()))
