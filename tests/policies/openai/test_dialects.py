"""What the openai policy does where a server refuses a field by name, or a system message."""

import asyncio
import re
import warnings
from typing import Any

import pytest

from warmline.core.errors import BadRequest, ModelNotFound, UnreadableReply, Unsupported
from warmline.policies.base import FinishReason, Message, Reply, Request, Sampling
from warmline.policies.openai.policy import OpenAIPolicy

from ..chaos_server import ChaosServer, Fault, Refusal
from .asking import ASK, CHOOSE, SCHEMA, asking, saying

pytestmark = pytest.mark.timeout(30)

HOT = Request(
    messages=ASK.messages, seed=5, sampling=Sampling(temperature=0.7, top_p=0.9, max_tokens=40)
)


def refusing(**words: str) -> Any:
    """Refuses the fields given, one after the other, in these words."""

    def refuse(body: dict[str, Any]) -> Refusal | None:
        return next((Refusal(400, said) for name, said in words.items() if name in body), None)

    return refuse


def o_series(body: dict[str, Any]) -> Refusal | None:
    """OpenAI's reasoning models, in OpenAI's words."""
    if "max_tokens" in body:
        said = "Unsupported parameter: 'max_tokens' is not supported with this model. Use"
        fields = {"param": "max_tokens", "code": "unsupported_parameter"}
        return Refusal(400, f"{said} 'max_completion_tokens' instead.", fields)
    for name in ("temperature", "top_p"):
        if body.get(name, 1) != 1:
            said = f"Unsupported value: '{name}' does not support {body[name]} with this model."
            fields = {"param": name, "code": "unsupported_value"}
            return Refusal(400, f"{said} Only the default (1) value is supported.", fields)
    for name in ("stop", "logprobs"):
        if name in body:
            said = f"Unsupported parameter: '{name}' is not supported with this model."
            return Refusal(400, said, {"param": name, "code": "unsupported_parameter"})
    return None


async def told(policy: OpenAIPolicy, *requests: Request) -> tuple[list[Reply], list[str]]:
    """The replies, and the warnings given meanwhile."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        replies = [await policy.respond(request) for request in requests]
    return replies, [str(warning.message) for warning in caught]


async def test_a_reasoning_model_that_takes_only_defaults() -> None:
    async with ChaosServer(refuse=o_series) as server, asking(server) as policy:
        (first, again), said = await told(policy, HOT, HOT)
    assert first.text == again.text
    assert first.attempts == 4, "three refusals, one answer"
    assert again.attempts == 1, "remembered"
    assert not {"temperature", "top_p", "max_tokens"} & server.chats[-1].keys()
    assert server.chats[-1]["max_completion_tokens"] == 40
    for reply in (first, again):
        assert reply.notes == {"openai": {"not_sent": ["temperature", "top_p"]}}
    assert len(said) == 1, "told once"
    assert "without temperature: the server's own default holds; without top_p" in said[0]


@pytest.mark.parametrize(
    ("words", "dropped"),
    [
        ({"seed": "Unknown parameter: 'seed'. Supported parameters: temperature, top_p"}, "seed"),
        ({"seed": "unknown field `seed`, expected one of `model`, `temperature`"}, "seed"),
        ({"top_p": "`temperature` and `top_p` cannot both be specified for this model. Please use"
                   " only one."}, "top_p"),
        ({"temperature": "invalid temperature: only 1 is allowed for this model"}, "temperature"),
        ({"temperature": "`temperature` is deprecated for this model."}, "temperature"),
        ({"temperature": "`temperature` may only be set to 1 when thinking is enabled."}, "temperature"),
        ({"temperature": "'temperature' must be 1.0 for this model"}, "temperature"),
        ({"top_p": "top_p must be >= 0.95 or unset when thinking is enabled"}, "top_p"),
        ({"seed": "seed is not a valid parameter"}, "seed"),
        ({"seed": "not a valid parameter: seed"}, "seed"),
        ({"seed": "[{'type': 'extra_forbidden', 'loc': ('body', 'seed'), 'msg': 'Extra inputs are"
                  " not permitted', 'input': 5}]"}, "seed"),
        ({"top_p": "These are not supported: temperature, top_p."}, "temperature top_p"),
    ],
)  # fmt: skip
async def test_refusals_of_many_servers(words: dict[str, str], dropped: str) -> None:
    async with ChaosServer(refuse=refusing(**words)) as server, asking(server) as policy:
        (reply, again), _ = await told(policy, HOT, HOT)
    assert reply.notes == again.notes == {"openai": {"not_sent": dropped.split()}}
    kept = {"temperature", "top_p", "seed"} - set(dropped.split())
    assert kept <= server.chats[-1].keys()
    assert (reply.attempts, again.attempts) == (2, 1)


@pytest.mark.parametrize(
    "said",
    [
        "Invalid 'temperature': decimal above maximum value. Expected a value <= 2",
        "temperature must be 0 or greater",
        "temperature may only be set to between 0 and 2",
        "temperature must be between 0 and 2; this value is not supported",
        "something else is wrong",
    ],
)
async def test_a_value_out_of_range_is_not_a_field_that_is_not_known(said: str) -> None:
    async with (
        ChaosServer(refuse=refusing(temperature=said)) as server,
        asking(server) as policy,
    ):
        with pytest.raises(BadRequest, match=re.escape(said)):
            await policy.respond(HOT)
        assert len(server.chats) == 1


async def test_nothing_is_remembered_of_a_refusal_that_was_about_something_else() -> None:
    async with (
        ChaosServer(refuse=lambda body: Refusal(400, "unsupported: temperature")) as server,
        asking(server) as policy,
    ):
        with pytest.raises(BadRequest):
            await policy.respond(HOT)
        with pytest.raises(BadRequest):
            await policy.respond(HOT)
    assert ["temperature" in body for body in server.chats] == [True, False, True, False]


async def test_many_at_once_learn_the_same() -> None:
    async with ChaosServer(refuse=o_series) as server, asking(server) as policy:
        replies = await asyncio.gather(*(policy.respond(HOT) for _ in range(8)))
        assert {reply.attempts for reply in replies} == {4}
        assert (await policy.respond(HOT)).attempts == 1


async def test_a_seed_that_is_refused_is_no_longer_promised() -> None:
    refuse = refusing(seed="Extra inputs are not permitted: seed")
    async with ChaosServer(refuse=refuse) as server, asking(server) as policy:
        promised = [policy.capabilities.seed]
        with pytest.warns(UserWarning, match="the same seed need not give the same answer"):
            await policy.open()
        promised.append(policy.capabilities.seed)
        (reply,), said = await told(policy, ASK)
    assert promised == [True, False]
    assert not said, "told at open"
    assert reply.notes == {"openai": {"not_sent": ["seed"]}}


@pytest.mark.parametrize("max_sentences", [None, 5])
async def test_stop_is_applied_here_where_the_server_does_not_take_it(
    max_sentences: int | None,
) -> None:
    asked = Request(messages=ASK.messages, max_sentences=max_sentences)
    answer = saying("I hear you. END and a lot more that nobody asked for.")
    async with (
        ChaosServer(refuse=o_series, answer=answer) as server,
        asking(server, extra_body={"stop": ["END", "###"]}) as policy,
    ):
        (reply, again), said = await told(policy, asked, asked)
    assert reply.text == again.text == "I hear you."
    assert reply.finish_reason is FinishReason.STOP
    assert reply.notes == {"openai": {"not_sent": ["stop"]}}
    assert "answers are cut here" in said[0]


async def test_refused_logprobs_are_refused_here_from_then_on() -> None:
    asked = Request(messages=ASK.messages, logprobs=True)
    async with ChaosServer(refuse=o_series) as server, asking(server) as policy:
        with pytest.raises(Unsupported, match="no log-probabilities though asked"):
            await policy.respond(asked)
        with pytest.raises(Unsupported, match="cannot honour logprobs"):
            await policy.respond(asked)
        assert len(server.chats) == 2


async def test_choices_and_schemas_where_response_format_is_refused() -> None:
    refuse = refusing(response_format="This response_format type is unavailable now")
    answers = saying("2. Reflection of Feelings", '{"score": 3}', '{"score": 4}')
    async with ChaosServer(refuse=refuse, answer=answers) as server, asking(server) as policy:
        choice = await policy.respond(CHOOSE)
        filled = await policy.respond(Request(messages=ASK.messages, schema=SCHEMA))
        again = await policy.respond(Request(messages=ASK.messages, schema=SCHEMA))
    assert choice.text == "Reflection of Feelings"
    assert (filled.text, again.text) == ('{"score": 3}', '{"score": 4}')
    assert (filled.attempts, again.attempts) == (2, 1), "remembered"
    assert "fits this JSON schema" in server.chats[-1]["messages"][-1]["content"]
    for reply in (choice, filled, again):
        assert reply.notes == {"openai": {"not_sent": ["response_format"]}}


async def test_a_schema_asked_for_in_words_is_still_checked() -> None:
    refuse = refusing(response_format="response_format is not supported")
    async with (
        ChaosServer(refuse=refuse, answer=saying("three")) as server,
        asking(server, reasks=1) as policy,
    ):
        with pytest.raises(UnreadableReply, match="asked 2 times for JSON"):
            await policy.respond(Request(messages=ASK.messages, schema=SCHEMA))
        assert len(server.chats) == 3


# No system role


def no_system(status: int, said: str) -> Any:
    def refuse(body: dict[str, Any]) -> Refusal | None:
        system = any(message["role"] == "system" for message in body["messages"])
        return Refusal(status, said) if system else None

    return refuse


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (400, "System role not supported"),
        (400, "Conversation roles must alternate user/assistant/user/assistant/..."),
        (500, "Jinja Exception: System role not supported"),
        (422, "Only user and assistant roles are supported!"),
        (400, "Unsupported value: 'messages[0].role' does not support 'system' with this model."),
        (400, "This model doesn't support system messages"),
        (400, "`system` is not a valid role"),
        (400, "Developer instruction is not enabled for models/gemma-3-4b-it"),
    ],
)
async def test_the_system_text_is_folded_where_the_server_has_no_such_role(
    status: int, said: str
) -> None:
    talk = (*ASK.messages, Message("assistant", "Hi."), Message("user", "I am sad."))
    request = Request(messages=talk, seed=1)
    async with (
        ChaosServer(refuse=no_system(status, said)) as server,
        asking(server, max_retries=0) as policy,
    ):
        (reply, again), warned = await told(policy, request, request)
    assert server.chats[-1]["messages"] == [
        {"role": "user", "content": "You listen.\n\nHello."},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": "I am sad."},
    ]
    assert (reply.attempts, again.attempts) == (2, 1)
    assert reply.notes == again.notes == {"openai": {"folded": ["system"]}}
    assert len(warned) == 1
    assert "the system message goes into the first user message" in warned[0]


async def test_a_refusal_of_alternation_without_a_system_message_is_an_error() -> None:
    said = "Conversation roles must alternate user/assistant/user/assistant/..."
    request = Request(messages=(Message("user", "a"), Message("user", "b")))
    async with (
        ChaosServer(refuse=lambda body: Refusal(400, said)) as server,
        asking(server) as policy,
    ):
        with pytest.raises(BadRequest, match="must alternate"):
            await policy.respond(request)
        assert len(server.chats) == 1


# The trial question


async def test_a_server_that_dislikes_the_trial_question_does_not_stop_the_run() -> None:
    def refuse(body: dict[str, Any]) -> Refusal | None:
        few = body["messages"][-1]["content"] == "Just say OK."
        return Refusal(400, "max_tokens is too small") if few else None

    async with ChaosServer(refuse=refuse) as server, asking(server) as policy:
        with pytest.warns(UserWarning, match=r"trial question.*too small.*begins all the same"):
            await policy.open()
        assert (await policy.respond(HOT)).text


@pytest.mark.parametrize("fault", [Fault.EMPTY, Fault.HALF_JSON, Fault.RATE_LIMITED])
async def test_a_trial_question_without_answer_does_not_stop_the_run(fault: Fault) -> None:
    async with ChaosServer([fault] * 2) as server, asking(server, max_retries=1) as policy:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            await policy.open()
        assert (await policy.respond(HOT)).text


async def test_a_model_that_is_not_listed_and_refused_is_not_served() -> None:
    refuse = refusing(model="no such deployment")
    async with ChaosServer(refuse=refuse, models=["tiny-2"]) as server, asking(server) as policy:
        with pytest.raises(ModelNotFound, match=r"no model 'tiny'; it serves 'tiny-2'"):
            await policy.open()
