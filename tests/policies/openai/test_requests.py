"""What the openai policy sends and reads: settings, sentences."""

import asyncio
import json
from typing import Any

import pytest

from warmline.core.errors import ConfigError, ContextTooLong, Unsupported
from warmline.policies.base import FinishReason, Request, Sampling, TokenLogprob, Usage
from warmline.policies.openai.policy import OpenAIPolicy
from warmline.policies.registry import make_policy
from warmline.policies.server_errors import Endpoint, context_error

from ..chaos_server import ChaosServer, Refusal
from .asking import ASK, SCHEMA, STRATEGIES, asking, saying

pytestmark = pytest.mark.timeout(30)


async def test_every_sampling_setting_is_sent() -> None:
    sampling = Sampling(
        temperature=0.7, top_p=0.9, top_k=40, min_p=0.05, repetition_penalty=1.1, max_tokens=60
    )
    async with ChaosServer() as server, asking(server, extra_body={"dry": 1, "top_k": 1}) as policy:
        await policy.respond(Request(messages=ASK.messages, sampling=sampling, seed=2**40 + 3))
    sent = server.chats[0]
    assert {**sampling.as_dict(), "repeat_penalty": 1.1, "dry": 1}.items() <= sent.items()
    assert sent["seed"] == 3, "31 bits fit every server"
    assert "logprobs" not in sent


@pytest.mark.parametrize("setting", ["top_k", "min_p", "repetition_penalty"])
async def test_openai_itself_is_not_sent_what_it_would_not_know(setting: str) -> None:
    request = Request(messages=ASK.messages, sampling=Sampling(**{setting: 0.5}))
    with pytest.raises(Unsupported, match=f"cannot honour {setting}"):
        await OpenAIPolicy("gpt").respond(request)
    assert setting in OpenAIPolicy("gpt", extended_sampling=True).capabilities.sampling


async def test_ollama_ignores_extended_sampling_and_is_found_out_at_open() -> None:
    async with ChaosServer(owner="library") as server, asking(server) as policy:
        await policy.open()
        with pytest.raises(Unsupported, match="cannot honour top_k"):
            await policy.respond(Request(messages=ASK.messages, sampling=Sampling(top_k=5)))


async def test_max_tokens_goes_by_another_name_where_the_server_says_so() -> None:
    said = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."

    def refuse(body: dict[str, Any]) -> Refusal | None:
        return Refusal(400, said) if "max_tokens" in body else None

    request = Request(messages=ASK.messages, sampling=Sampling(max_tokens=9))
    async with ChaosServer(refuse=refuse) as server, asking(server) as policy:
        replies = await asyncio.gather(*(policy.respond(request) for _ in range(5)))
        assert {reply.attempts for reply in replies} == {2}
        assert (await policy.respond(request)).attempts == 1, "remembered"
        assert server.chats[-1]["max_completion_tokens"] == 9


@pytest.mark.parametrize(
    ("message", "fields", "prompt", "room"),
    [
        (
            "This model's maximum context length is 2048 tokens. However, you requested 3000 tokens"
            " (2900 in the messages, 100 in the completion).",
            {}, 2900, 2048,
        ),
        (
            "'max_tokens' or 'max_completion_tokens' is too large: 5000. This model's maximum"
            " context length is 2048 tokens and your request has 12 input tokens",
            {}, 12, 2048,
        ),
        (
            "the request exceeds the available context size. try increasing it",
            {"type": "exceed_context_size_error", "n_prompt_tokens": 700, "n_ctx": 512}, 700, 512,
        ),
        (
            "The input (5,000 tokens) is longer than the model's context length (4,096 tokens).",
            {}, 5000, 4096,
        ),
        (
            "Prompt contains 65673 tokens and 0 draft tokens, too large for model with 32768 maximum"
            " context length",
            {}, 65673, 32768,
        ),
        ("context_length_exceeded", {}, None, None),
    ],
)  # fmt: skip
async def test_context_too_long(
    message: str, fields: dict[str, Any], prompt: int | None, room: int | None
) -> None:
    refusal = Refusal(400, message, fields)
    async with ChaosServer(refuse=lambda body: refusal) as server, asking(server) as policy:
        with pytest.raises(ContextTooLong) as caught:
            await policy.respond(ASK)
        assert (caught.value.prompt_tokens, caught.value.context_tokens) == (prompt, room)
        assert len(server.chats) == 1


def test_other_refusals_are_not_taken_for_context() -> None:
    assert context_error("temperature must be at most 2, not 2048") is None


async def test_logprobs() -> None:
    request = Request(messages=ASK.messages, seed=5, logprobs=True)
    async with ChaosServer() as server, asking(server) as policy:
        reply = await policy.respond(request)
        assert reply.logprobs is not None
        assert reply.logprobs[0] == TokenLogprob("You", -0.5)
        assert len(reply.logprobs) == 14


@pytest.mark.parametrize("max_sentences", [None, 1])
async def test_logprobs_that_do_not_come_are_an_error(max_sentences: int | None) -> None:
    request = Request(messages=ASK.messages, logprobs=True, max_sentences=max_sentences)
    async with ChaosServer(logprobs=False) as server, asking(server) as policy:
        with pytest.raises(Unsupported, match="no log-probabilities though asked"):
            await policy.respond(request)


@pytest.mark.parametrize(
    ("mode", "extra"),
    [
        ("continue", {"continue_final_message": True, "add_generation_prompt": False}),
        ("assistant", {}),
    ],
)
@pytest.mark.parametrize("repeats", [False, True])
async def test_prefill(mode: str, extra: dict[str, Any], repeats: bool) -> None:
    request = Request(messages=ASK.messages, prefill="I feel")
    said = "I feel so tired." if repeats else " so tired."
    async with ChaosServer(answer=saying(said)) as server, asking(server, prefill=mode) as policy:
        assert (await policy.respond(request)).text == "I feel so tired."
    assert server.chats[0]["messages"][-1] == {"role": "assistant", "content": "I feel"}
    assert extra.items() <= server.chats[0].items()


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(messages=ASK.messages, prefill="I feel"), "cannot honour prefill"),
        (Request(messages=ASK.messages, choices=STRATEGIES, schema=SCHEMA), "choices and schema"),
        (Request(messages=ASK.messages, choices=()), "at least one option"),
    ],
)
async def test_what_cannot_be_honoured_is_refused(request_: Request, message: str) -> None:
    async with ChaosServer() as server, asking(server) as policy:
        with pytest.raises(Unsupported, match=message):
            await policy.respond(request_)
        assert not server.chats


def test_all_problems_of_the_options_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        OpenAIPolicy(
            base_url="localhost:8000", timeout=0, max_retries=-1, max_concurrency=0, reasks=-1,
            backoff=-1, choices_mode="json-schema", prefill="yes", api_key_env="sk-abc",  # type: ignore[arg-type]
        )  # fmt: skip
    assert len(caught.value.problems) == 9
    assert "did you mean 'json_schema'?" in str(caught.value)
    assert "sk-abc" not in str(caught.value)


def test_a_password_in_the_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="must not carry a user, a password") as caught:
        OpenAIPolicy(base_url="http://me:hush@host/v1")
    assert "hush" not in str(caught.value)


def test_made_by_name_and_described_without_secrets() -> None:
    policy = make_policy(
        "openai", model="m", base_url="http://host:8000/v1/",
        extra_body={"auth_token": "hush", "nested": [{"api_key": "hush"}], "max_tokens": 4},
    )  # fmt: skip
    assert isinstance(policy, OpenAIPolicy)
    said = policy.describe()
    assert said["base_url"] == "http://host:8000/v1"
    assert said["extra_body"] == {
        "auth_token": "***", "nested": [{"api_key": "***"}], "max_tokens": 4
    }  # fmt: skip
    assert json.loads(json.dumps(said)) == said


def test_a_key_in_the_servers_words_is_blanked_out() -> None:
    endpoint = Endpoint("http://h/v1", "m", "K", "sk-abc", 1.0)
    assert endpoint.hide("bad key sk-abc") == "bad key ***"


async def test_max_sentences_stops_reading_and_the_server_notices() -> None:
    text = "One two three. Four five. " + "and so on " * 500 + "."
    async with ChaosServer(answer=saying(text), pace=0.002) as server, asking(server) as policy:
        reply = await policy.respond(Request(messages=ASK.messages, max_sentences=1))
        assert reply.finish_reason is FinishReason.SENTENCES
        assert reply.text == "One two three. Four"
        assert reply.usage == Usage(7, 3, 4), "vLLM counts along"
        await asyncio.sleep(0.05)
        assert server.hung_up == 1
        assert server.chunks_sent < 100
        assert (await policy.respond(ASK)).text, "the pool survives a line cut"


async def test_a_stream_that_ends_by_itself() -> None:
    async with ChaosServer() as server, asking(server) as policy:
        reply = await policy.respond(Request(messages=ASK.messages, seed=5, max_sentences=9))
    assert reply.finish_reason is FinishReason.STOP
    assert reply.text.endswith("I have time.")
    assert reply.usage == Usage(7, 3, 14)


async def test_usage_of_a_stopped_stream_is_estimated_and_marked() -> None:
    def refuse(body: dict[str, Any]) -> Refusal | None:
        along = "continuous_usage_stats" in body.get("stream_options", {})
        return Refusal(422, "continuous_usage_stats: unknown field") if along else None

    async with ChaosServer(refuse=refuse) as server, asking(server) as policy:
        stopped = await policy.respond(Request(messages=ASK.messages, max_sentences=1))
        assert stopped.finish_reason is FinishReason.SENTENCES
        assert stopped.usage is not None
        assert stopped.usage.estimated
        assert stopped.usage.completion_tokens >= len(stopped.text) / 4
        assert stopped.usage.prompt_tokens >= sum(len(m.content) for m in ASK.messages) / 4
        assert stopped.attempts == 2
        ended = await policy.respond(Request(messages=ASK.messages, max_sentences=9))
        assert ended.usage is not None
        assert not ended.usage.estimated
        assert ended.attempts == 1


async def test_a_server_without_stream_options() -> None:
    def refuse(body: dict[str, Any]) -> Refusal | None:
        return Refusal(400, "stream_options not supported") if "stream_options" in body else None

    async with ChaosServer(refuse=refuse) as server, asking(server) as policy:
        reply = await policy.respond(Request(messages=ASK.messages, max_sentences=9))
        assert (reply.attempts, reply.usage) == (3, None)


async def test_streaming_can_be_switched_off() -> None:
    async with ChaosServer() as server, asking(server, stream=False) as policy:
        reply = await policy.respond(Request(messages=ASK.messages, seed=5, max_sentences=1))
        assert reply.text.endswith("I have time.")
        assert "stream" not in server.chats[0]
        assert not policy.capabilities.max_sentences


async def test_an_answer_that_reached_max_tokens_says_so() -> None:
    async with ChaosServer() as server, asking(server) as policy:
        for max_sentences in (None, 9):
            request = Request(
                messages=ASK.messages, sampling=Sampling(max_tokens=3), max_sentences=max_sentences
            )
            reply = await policy.respond(request)
            assert (reply.text, reply.finish_reason) == ("You said something.", FinishReason.LENGTH)


async def test_no_usage_said_none_reported() -> None:
    async with ChaosServer(usage=False) as server, asking(server) as policy:
        assert (await policy.respond(ASK)).usage is None
