"""The autogen policy on AutoGen's own clients: the replay client, and the OpenAI client against a
real server on the loopback device."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from autogen_core.models import (
    AssistantMessage,
    ChatCompletionClient,
    CreateResult,
    RequestUsage,
    SystemMessage,
    UserMessage,
)
from autogen_ext.models.openai import OpenAIChatCompletionClient
from autogen_ext.models.replay import ReplayChatCompletionClient

from warmline.core.errors import (
    AuthenticationFailed,
    BadRequest,
    ConfigError,
    ContextTooLong,
    EngineTimeout,
    EngineUnavailable,
    MissingExtra,
    ModelNotFound,
    PolicyError,
    PolicyNotFound,
    RateLimited,
    UnreadableReply,
    Unsupported,
)
from warmline.core.seeds import reask_seed
from warmline.policies.autogen.policy import AutogenClientPolicy
from warmline.policies.base import FinishReason, Message, Request, Sampling, Usage
from warmline.policies.registry import make_policy

from ..chaos_server import ChaosServer, Fault, Refusal

pytestmark = [pytest.mark.timeout(60), pytest.mark.filterwarnings("ignore:Resolved model mismatch")]

ASK = Request(
    messages=(
        Message("system", "You listen."),
        Message("user", "Hello."),
        Message("assistant", "Hi."),
        Message("user", "I lost my job."),
    ),
    seed=2**31 + 5,
    sampling=Sampling(temperature=0.5, max_tokens=50),
)
CHOOSE = dataclasses.replace(ASK, choices=("Question", "Reflection of Feelings", "Others"))
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"score": {"type": "integer"}},
    "required": ["score"],
}
FILL = dataclasses.replace(ASK, schema=SCHEMA)
MODEL_INFO: Any = {
    "vision": False,
    "function_calling": False,
    "json_output": True,
    "structured_output": False,
    "family": "unknown",
}


def replay(*answers: str | CreateResult) -> ReplayChatCompletionClient:
    return ReplayChatCompletionClient(list(answers))


def result(content: Any, reason: Any = "stop", prompt: int = 7, answer: int = 3) -> CreateResult:
    return CreateResult(
        content=content,
        finish_reason=reason,
        usage=RequestUsage(prompt_tokens=prompt, completion_tokens=answer),
        cached=False,
    )


# The replay client


async def test_messages_usage_and_settings_arrive() -> None:
    client = replay("That is hard.")
    reply = await AutogenClientPolicy(client).respond(ASK)
    assert (reply.text, reply.policy, reply.attempts) == ("That is hard.", "autogen", 1)
    assert reply.finish_reason is FinishReason.STOP
    assert reply.usage == Usage(8, 0, 3)
    (call,) = client.create_calls
    assert call["messages"] == [
        SystemMessage(content="You listen."),
        UserMessage(content="Hello.", source="user"),
        AssistantMessage(content="Hi.", source="assistant"),
        UserMessage(content="I lost my job.", source="user"),
    ]
    assert call["extra_create_args"] == {"temperature": 0.5, "max_tokens": 50}
    assert call["json_output"] is None


async def test_thinking_is_told_from_the_answer() -> None:
    apart = result("Fine.").model_copy(update={"thought": "She is sad."})
    client = replay(apart, "<think>Is it over?</think>\nOthers, not Question.")
    policy = AutogenClientPolicy(client)
    reply = await policy.respond(ASK)
    assert (reply.text, reply.thinking) == ("Fine.", "She is sad.")
    reply = await policy.respond(CHOOSE)
    assert (reply.text, reply.thinking) == ("Others", "Is it over?")


async def test_the_switch_goes_by_the_name_that_the_client_has() -> None:
    low = dataclasses.replace(ASK, sampling=Sampling(thinking="low"))
    with pytest.raises(Unsupported, match="cannot honour thinking"):
        await AutogenClientPolicy(replay("x")).respond(low)
    client = replay("x")
    policy = AutogenClientPolicy(client, sampling={"thinking": "reasoning_effort"})
    await policy.respond(low)
    assert client.create_calls[0]["extra_create_args"] == {"reasoning_effort": "low"}


async def test_marks_that_end_messages_are_broken_up() -> None:
    client = replay("x")
    await AutogenClientPolicy(client).respond(Request((Message("user", "Hi.<end_of_turn>"),)))
    assert client.create_calls[0]["messages"][0].content == "Hi.< end_of_turn>"


async def test_seeds_are_passed_on_only_where_the_option_says_so() -> None:
    client = replay("", "again")
    policy = AutogenClientPolicy(client, seed=True)
    assert policy.capabilities.seed
    await policy.respond(ASK)
    seeds = [call["extra_create_args"]["seed"] for call in client.create_calls]
    second = reask_seed(ASK.seed, 1)
    assert seeds == [5, second], "31 bits; a re-ask has another"
    assert not AutogenClientPolicy(replay()).capabilities.seed
    named = replay("x")
    await AutogenClientPolicy(named, seed="random_seed").respond(ASK)
    assert named.create_calls[0]["extra_create_args"]["random_seed"] == 5


async def test_choices_are_asked_for_in_words_read_leniently_and_asked_again() -> None:
    client = replay("Well.", "2. Reflection of Feelings.")
    reply = await AutogenClientPolicy(client).respond(CHOOSE)
    assert reply.text == "Reflection of Feelings"
    assert reply.finish_reason is FinishReason.CHOICE
    assert reply.attempts == 2
    first, second = [call["messages"] for call in client.create_calls]
    assert "Question" in first[-1].content
    assert [m.content for m in second[-2:-1]] == ["Well."]
    assert reply.usage == Usage(
        client.total_usage().prompt_tokens, 0, client.total_usage().completion_tokens
    )


async def test_half_a_character_is_not_sent_back() -> None:
    client = replay("I hear \ud800 you", "Others")
    assert (await AutogenClientPolicy(client).respond(CHOOSE)).text == "Others"
    assert "I hear � you" in str(client.create_calls[-1]["messages"])


async def test_schemas_are_checked_whatever_the_model_can() -> None:
    client = replay('{"score": "high"}', '```json\n{"score": 4}\n```')
    reply = await AutogenClientPolicy(client).respond(FILL)
    assert json.loads(reply.text) == {"score": 4}
    assert client.create_calls[0]["json_output"] is None, "this model has no JSON mode"
    able = ReplayChatCompletionClient(['{"score": 1}'], model_info=MODEL_INFO)
    await AutogenClientPolicy(able).respond(FILL)
    assert able.create_calls[0]["json_output"] is True


async def test_reasks_are_bounded() -> None:
    for request, answers in ((CHOOSE, "none"), (FILL, "none"), (ASK, " ")):
        client = replay(*[answers] * 5)
        with pytest.raises(UnreadableReply, match="asked 3 times"):
            await AutogenClientPolicy(client).respond(request)
        assert len(client.create_calls) == 3
    with pytest.raises(UnreadableReply, match="asked 1 times; its last answer was 'none'"):
        await AutogenClientPolicy(replay("none"), reasks=0).respond(CHOOSE)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (result("x", "stop"), FinishReason.STOP),
        (result("x", "length"), FinishReason.LENGTH),
        (result("x", "unknown", answer=50), FinishReason.LENGTH),
        (result("x", "unknown", answer=49), FinishReason.STOP),
    ],
)
async def test_finish_reasons(answer: CreateResult, reason: FinishReason) -> None:
    assert (await AutogenClientPolicy(replay(answer)).respond(ASK)).finish_reason is reason


async def test_answers_that_are_none() -> None:
    call = {"id": "1", "name": "f", "arguments": "{}"}
    with pytest.raises(UnreadableReply, match="tool call"):
        await AutogenClientPolicy(replay(result([call], "function_calls"))).respond(ASK)
    with pytest.raises(BadRequest, match="content filter"):
        await AutogenClientPolicy(replay(result("", "content_filter"))).respond(ASK)


async def test_unknown_usage_is_not_zero_and_cached_is_told() -> None:
    silent = await AutogenClientPolicy(replay(result("x", prompt=0, answer=0))).respond(ASK)
    assert silent.usage is None
    assert not silent.cached
    assert (await AutogenClientPolicy(replay("x")).respond(ASK)).cached, "a replay costs nothing"


async def test_an_exhausted_replay_stops_the_run() -> None:
    with pytest.raises(Unsupported, match=r"ReplayChatCompletionClient .*No more mock") as caught:
        await AutogenClientPolicy(replay()).respond(ASK)
    assert caught.value.fatal


@pytest.mark.parametrize(
    "change",
    [{"prefill": "I"}, {"logprobs": True}, {"choices": ()}, {"choices": ("a",), "schema": SCHEMA}],
    ids=str,
)
async def test_what_cannot_be_honoured_is_refused(change: dict[str, Any]) -> None:
    client = replay("x")
    with pytest.raises(Unsupported):
        await AutogenClientPolicy(client).respond(dataclasses.replace(ASK, **change))
    assert not client.create_calls


class Slow(ReplayChatCompletionClient):
    """A client of a user's own: takes its time, and is seen to be cancelled."""

    token: Any = None
    closed = 0

    async def create(self, *args: Any, **options: Any) -> CreateResult:
        self.token = options["cancellation_token"]
        await asyncio.sleep(30)
        return await super().create(*args, **options)

    async def close(self) -> None:
        self.closed += 1


async def test_cancelling_reaches_the_client_and_closing_closes_it() -> None:
    client = Slow(["x"])
    policy = AutogenClientPolicy(client, sampling=["temperature", "max_tokens"])
    asked = asyncio.create_task(policy.respond(ASK))
    await asyncio.sleep(0.01)
    asked.cancel()
    await asyncio.gather(asked, return_exceptions=True)
    assert asked.cancelled()
    assert client.token.is_cancelled()
    await policy.aclose()
    assert client.closed == 1


async def test_of_an_unknown_client_the_arguments_must_be_stated() -> None:
    with pytest.raises(Unsupported, match="'autogen' cannot honour temperature, max_tokens"):
        await AutogenClientPolicy(Slow(["x"])).respond(ASK)
    client = replay("x")
    policy = AutogenClientPolicy(
        client, sampling={"temperature": "heat", "max_tokens": "max_completion_tokens"}
    )
    await policy.respond(ASK)
    assert client.create_calls[0]["extra_create_args"] == {
        "heat": 0.5,
        "max_completion_tokens": 50,
    }
    with pytest.raises(Unsupported, match="top_k"):
        await policy.respond(dataclasses.replace(ASK, sampling=Sampling(top_k=4)))


# Where clients come from


def make_client() -> ReplayChatCompletionClient:
    return replay("made")


READY = replay("ready")


async def test_clients_by_import_string_factory_and_config() -> None:
    config = replay("configured").dump_component().model_dump()
    for given, said in (
        (f"{__name__}:make_client", "made"),
        (f"{__name__}:READY", "ready"),
        (make_client, "made"),
        (config, "configured"),
    ):
        policy = make_policy("autogen", client=given)
        assert (await policy.respond(ASK)).text == said


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("gpt-4o", ConfigError, "(?s)no AutoGen client named 'gpt-4o'.*import string"),
        (".x:make", ConfigError, "(?s)no AutoGen client named '.x:make'.*import string"),
        ("no_such_thing:x", PolicyNotFound, "no module named 'no_such_thing'"),
        (f"{__name__}:make_clint", PolicyNotFound, "did you mean 'make_client'"),
        (f"{__name__}:ASK", ConfigError, "needs a ChatCompletionClient, not Request"),
        (3, ConfigError, "needs a ChatCompletionClient, not 3"),
        ({"provider": "x", "config": {}}, ConfigError, "from the component config of 'x'"),
        ({"provider": "autogen_ext.nothing.X", "config": {}}, MissingExtra, r"warmline\[autogen\]"),
        (
            {"provider": "autogen_ext.models.ollama.OllamaChatCompletionClient", "config": {}},
            ConfigError,
            r"needs 'ollama', which is not installed(?s:.)*autogen-ext\[openai\]",
        ),
        (
            {
                "provider": "autogen_ext.models.openai.OpenAIChatCompletionClient",
                "config": {"api_key": "sk-very-secret"},
            },
            ConfigError,
            "model: Field required",
        ),
    ],
)
def test_what_is_no_client(given: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        AutogenClientPolicy(given)
    assert "very-secret" not in str(caught.value)


def test_unknown_sampling_fields() -> None:
    with pytest.raises(ConfigError, match=r"'temprature' is not .*did you mean 'temperature'"):
        AutogenClientPolicy(replay(), sampling=["temprature"])
    with pytest.raises(ConfigError, match="reasks"):
        AutogenClientPolicy(replay(), reasks=-1)


def test_importing_the_policy_is_light_and_a_missing_extra_is_told() -> None:
    code = """
import sys
from warmline.policies.autogen.policy import AutogenClientPolicy
print(*sys.modules)
sys.modules["autogen_ext"] = None
try:
    AutogenClientPolicy("autogen_ext.models.replay:ReplayChatCompletionClient")
except Exception as error:
    print("|", type(error).__name__, error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded, _, said = run.stdout.partition("|")
    assert {"autogen_core", "autogen_ext", "openai"}.isdisjoint(loaded.split())
    assert "MissingExtra" in said
    assert "pip install 'warmline[autogen]'" in said


# The OpenAI client, over HTTP


@asynccontextmanager
async def over_http(server: ChaosServer, **options: Any) -> AsyncIterator[AutogenClientPolicy]:
    client = OpenAIChatCompletionClient(
        model="tiny",
        base_url=server.base_url,
        api_key="sk-very-secret",
        model_info=MODEL_INFO,
        max_retries=0,
        **options,
    )
    policy = AutogenClientPolicy(client, seed=True)
    try:
        yield policy
    finally:
        await policy.aclose()


async def test_over_http() -> None:
    async with ChaosServer() as server, over_http(server) as policy:
        replies = await asyncio.gather(*(policy.respond(ASK) for _ in range(8)))
        (body,) = {json.dumps(chat, sort_keys=True) for chat in server.chats}
    sent = json.loads(body)
    assert (sent["temperature"], sent["max_tokens"], sent["seed"]) == (0.5, 50, 5)
    assert [m["role"] for m in sent["messages"]] == ["system", "user", "assistant", "user"]
    assert [m["content"] for m in sent["messages"]][-1] == "I lost my job."
    assert {reply.text for reply in replies} == {
        "You said something. I heard it, seed 5. Tell me more. I have time."
    }
    assert replies[0].usage == Usage(7, 0, 14)
    assert not replies[0].cached
    assert replies[0].policy == "autogen:tiny"


async def test_length_choices_and_schema_over_http() -> None:
    def answer(body: dict[str, Any]) -> str:
        said = body["messages"][-1]["content"]
        return '{"score": 3}' if "JSON" in said else "1" if "exactly one" in said else "a b c d"

    async with ChaosServer(answer=answer) as server, over_http(server) as policy:
        short = dataclasses.replace(ASK, sampling=Sampling(max_tokens=2))
        reply = await policy.respond(short)
        assert (reply.text, reply.finish_reason) == ("a b", FinishReason.LENGTH)
        assert (await policy.respond(CHOOSE)).text == "Question"
        assert (await policy.respond(FILL)).text == '{"score": 3}'
        assert server.chats[-1]["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize(
    ("fault", "error", "retryable", "fatal"),
    [
        (Fault.RATE_LIMITED, RateLimited, True, False),
        (Fault.BROKEN, EngineUnavailable, True, False),
        (Fault.OVERLOADED, EngineUnavailable, True, False),
        (Fault.BAD_REQUEST, BadRequest, False, False),
        (Fault.REFUSED_KEY, AuthenticationFailed, False, True),
        (Fault.NO_MODEL, ModelNotFound, False, True),
        (Fault.DROP_BEFORE, EngineUnavailable, True, False),
        (Fault.DROP_IN_HEADERS, EngineUnavailable, True, False),
        (Fault.HALF_JSON, UnreadableReply, True, False),
        (Fault.CUT_JSON, EngineUnavailable, True, False),
        (Fault.SLOW, EngineTimeout, True, False),
    ],
)
async def test_failures_over_http(
    fault: Fault, error: type[PolicyError], retryable: bool, fatal: bool
) -> None:
    async with ChaosServer([fault], delay=3.0) as server, over_http(server, timeout=1.0) as policy:
        with pytest.raises(error, match="AutoGen client OpenAIChatCompletionClient") as caught:
            await policy.respond(ASK)
        assert (caught.value.retryable, caught.value.fatal) == (retryable, fatal)
        assert (caught.value.__cause__ is None) == (error is AuthenticationFailed)
        assert (await policy.respond(ASK)).text, "the next request is answered"


async def test_refusals_over_http() -> None:
    refusals: Iterator[Refusal] = iter(
        [
            Refusal(400, "This model's maximum context length is 100 tokens, however you requested"
                    " 130 tokens (110 in the messages, 20 in the completion)."),
            Refusal(401, "Incorrect key: sk-very-secret"),
            Refusal(402, "no credit"),
            Refusal(429, "quota", {"type": "insufficient_quota", "code": "insufficient_quota"}),
        ]
    )  # fmt: skip
    server = ChaosServer(refuse=lambda body: next(refusals))
    async with server, over_http(server) as policy:
        with pytest.raises(ContextTooLong, match=r"110 tokens does not fit .* 100 tokens"):
            await policy.respond(ASK)
        for message in (r"was refused \(401\)", "no credit", "no credit"):
            with pytest.raises(AuthenticationFailed, match=message) as caught:
                await policy.respond(ASK)
            assert "very-secret" not in "".join(traceback.format_exception(caught.value))


async def test_a_server_that_is_not_there() -> None:
    async with ChaosServer() as server:
        pass
    async with over_http(server) as policy:
        with pytest.raises(EngineUnavailable, match="APIConnectionError"):
            await policy.respond(ASK)


async def test_identity_without_secrets() -> None:
    headers = {"Authorization": "Bearer very-secret", "x-team": "a"}
    async with (
        ChaosServer() as server,
        over_http(server, temperature=0.1, default_headers=headers) as policy,
    ):
        described = policy.describe()
    assert described["client"].endswith(":OpenAIChatCompletionClient")
    assert described["config"]["base_url"] == server.base_url
    assert described["config"]["temperature"] == 0.1
    assert described["config"]["default_headers"]["x-team"] == "a"
    assert "very-secret" not in json.dumps(described)
    other = AutogenClientPolicy(replay("a"))
    assert other.describe() != AutogenClientPolicy(replay("b")).describe()
    assert other.describe() == AutogenClientPolicy(replay("a")).describe()
    json.dumps(other.describe())


async def test_a_client_that_is_no_component_is_described_by_its_model() -> None:
    class Plain(Slow):
        def dump_component(self) -> Any:
            raise NotImplementedError

    assert isinstance(client := Plain(["x"]), ChatCompletionClient)
    assert AutogenClientPolicy(client).describe()["config"]["model_info"]["family"] == "unknown"


async def test_a_whole_conversation() -> None:
    import warmline

    async with ChaosServer() as server, over_http(server) as policy:
        environment = warmline.SupportEnvironment(
            seeker=policy, counselor=policy, supporter=policy, judger=policy, max_turns=4
        )
        server._answer = lambda body: (
            "2" if "Strateg" in str(body) and "exactly one" in str(body["messages"][-1])
            else "NO" if "exactly one" in str(body["messages"][-1]) else "I hear you."
        )  # fmt: skip
        (scenario,) = warmline.draw_scenarios(1, seed=1)
        episode = await environment.run(scenario, seed=1)
    assert episode.error is None
    assert len(episode.utterances) == 4
    assert {call.policy for call in episode.calls} == {"autogen:tiny"}
