"""The openai policy over a real loopback server: faults, retries, waiting."""

import asyncio
import email.utils
import time

import pytest

from warmline.core.errors import (
    AuthenticationFailed,
    BadRequest,
    EngineTimeout,
    EngineUnavailable,
    ModelNotFound,
    PolicyError,
    RateLimited,
    UnreadableReply,
)
from warmline.policies.base import FinishReason, Request, Usage
from warmline.policies.openai.policy import OpenAIPolicy
from warmline.policies.openai.replies import read_completion
from warmline.policies.server_errors import retry_after

from ..chaos_server import TRANSIENT, ChaosServer, Fault, Refusal, storm
from .asking import ASK, CHOOSE, STRATEGIES, asking

pytestmark = pytest.mark.timeout(30)


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


async def test_a_plain_answer() -> None:
    async with ChaosServer() as server, asking(server) as policy:
        reply = await policy.respond(ASK)
    assert reply.text == "You said something. I heard it, seed 5. Tell me more. I have time."
    assert (reply.finish_reason, reply.attempts, reply.policy) == (
        FinishReason.STOP,
        1,
        "openai:tiny",
    )
    assert reply.usage == Usage(prompt_tokens=7, cached_tokens=3, completion_tokens=14)
    assert reply.logprobs is None
    assert 0 < reply.latency < 5
    assert server.chats == [
        {
            "model": "tiny",
            "messages": [
                {"role": "system", "content": "You listen."},
                {"role": "user", "content": "Hello."},
            ],
            "seed": 5,
        }
    ]


@pytest.mark.parametrize("fault", TRANSIENT, ids=lambda fault: fault.name)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
async def test_a_transient_fault_is_retried(fault: Fault, streamed: bool) -> None:
    request = Request(messages=ASK.messages, seed=5, max_sentences=2 if streamed else None)
    async with ChaosServer([fault, fault]) as server, asking(server, timeout=5) as policy:
        reply = await policy.respond(request)
    assert reply.text.startswith("You said something. I heard it, seed")
    assert reply.attempts == len(server.chats) == (1 if fault is Fault.SLOW else 3)


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        (Fault.BAD_REQUEST, BadRequest, "temperature is out of range"),
        (Fault.REFUSED_KEY, AuthenticationFailed, r"\$OPENAI_API_KEY is not set"),
        (Fault.NO_MODEL, ModelNotFound, "no model 'tiny'; it serves 'tiny-chat'"),
    ],
)
async def test_a_final_fault_is_never_retried(
    fault: Fault, error: type[PolicyError], message: str
) -> None:
    async with ChaosServer([fault], models=["tiny-chat"]) as server, asking(server) as policy:
        with pytest.raises(error, match=message):
            await policy.respond(ASK)
        assert len(server.chats) == 1


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.RATE_LIMITED, RateLimited),
        (Fault.BROKEN, EngineUnavailable),
        (Fault.OVERLOADED, EngineUnavailable),
        (Fault.HALF_JSON, UnreadableReply),
        (Fault.CUT_JSON, EngineUnavailable),
        (Fault.DROP_BEFORE, EngineUnavailable),
        (Fault.DROP_IN_HEADERS, EngineUnavailable),
    ],
)
async def test_retries_are_bounded(fault: Fault, error: type[PolicyError]) -> None:
    async with ChaosServer([fault] * 20) as server, asking(server, max_retries=3) as policy:
        with pytest.raises(error, match=r"127\.0\.0\.1"):
            await policy.respond(ASK)
        assert len(server.chats) == 4


async def test_empty_answers_are_asked_again_with_other_seeds_and_bounded() -> None:
    async with ChaosServer([Fault.EMPTY] * 20) as server, asking(server, reasks=2) as policy:
        with pytest.raises(UnreadableReply, match="asked 3 times for text; its last answer was ''"):
            await policy.respond(ASK)
        seeds = [body["seed"] for body in server.chats]
        assert len(set(seeds)) == 3
        assert seeds[0] == 5


async def test_a_timeout_is_retried_and_named() -> None:
    async with (
        ChaosServer([Fault.SLOW] * 3, delay=60) as server,
        asking(server, timeout=1, max_retries=2) as policy,  # time for the request to arrive
    ):
        with pytest.raises(EngineTimeout, match=r"did not answer within 1 s"):
            await policy.respond(ASK)
        assert len(server.chats) == 3


async def test_a_stream_that_drips_for_ever_times_out() -> None:
    async with ChaosServer(pace=0.04) as server, asking(server, timeout=0.2, max_retries=0) as p:
        with pytest.raises(EngineTimeout):
            await p.respond(Request(messages=ASK.messages, max_sentences=4))


async def test_a_page_that_is_no_api_is_named() -> None:
    async with ChaosServer() as server:
        policy = OpenAIPolicy("tiny", base_url=server.base_url.removesuffix("/v1"), backoff=0.001)
        with pytest.raises(ModelNotFound, match=r"base_url usually ends in /v1"):
            await policy.respond(ASK)
        await policy.aclose()


def test_a_content_filter_is_no_empty_answer() -> None:
    body = {"choices": [{"message": {"content": None}, "finish_reason": "content_filter"}]}
    with pytest.raises(BadRequest, match="content filter"):
        read_completion(body)


@pytest.mark.parametrize(
    "body",
    [
        None, "<html>", [], {}, {"choices": None}, {"choices": []}, {"choices": [None]},
        {"choices": [{"text": "completions, not chat"}]},
        {"choices": [{"message": {"content": "cut"}, "finish_reason": "abort"}]},
    ],
)  # fmt: skip
def test_bodies_that_are_no_answer(body: object) -> None:
    with pytest.raises(UnreadableReply):
        read_completion(body)


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        (None, None),
        ({}, None),
        ({"prompt_tokens": 5, "completion_tokens": 2}, Usage(5, 0, 2)),
        (
            {"prompt_tokens": 5, "completion_tokens": 0, "prompt_tokens_details": None},
            Usage(5, 0, 0),
        ),
    ],
)
def test_usage_is_read_where_it_is_said(usage: object, read: Usage | None) -> None:
    answer = read_completion({"choices": [{"message": {"content": "a"}}], "usage": usage})
    assert answer.usage == read
    assert answer.finish_reason is FinishReason.STOP


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "7", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": email.utils.formatdate(1_800_000_030, usegmt=True)}, 30.0),
        ({"retry-after": email.utils.formatdate(1_700_000_000, usegmt=True)}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, now=1_800_000_000) == seconds


async def test_retry_after_is_waited_for() -> None:
    async with (
        ChaosServer([Fault.RATE_LIMITED], retry_after={"retry-after-ms": "150"}) as server,
        asking(server) as policy,
    ):
        started = time.monotonic()
        reply = await policy.respond(ASK)
        assert 0.15 <= time.monotonic() - started < 2
        assert reply.attempts == 2
        assert reply.latency >= 0.15


async def test_retry_after_holds_back_the_others_too() -> None:
    plan = [Fault.RATE_LIMITED]
    async with (
        ChaosServer(plan, retry_after={"retry-after-ms": "150"}) as server,
        asking(server, max_concurrency=1) as policy,
    ):
        replies = await asyncio.gather(*(policy.respond(ASK) for _ in range(5)))
        assert sorted(reply.attempts for reply in replies) == [1, 1, 1, 1, 2]
        assert min(reply.latency or 0.0 for reply in replies) >= 0.15


async def test_an_hour_is_not_waited_for() -> None:
    async with (
        ChaosServer([Fault.RATE_LIMITED], retry_after={"retry-after": "3600"}) as server,
        asking(server) as policy,
    ):
        with pytest.raises(RateLimited, match="asks to wait 3600 s"):
            await policy.respond(ASK)
        assert len(server.chats) == 1
        assert (await policy.respond(ASK)).attempts == 1, "and nobody else is held back"


async def test_an_empty_account_ends_the_run_at_once() -> None:
    refusal = Refusal(429, "You exceeded your quota", {"code": "insufficient_quota"})
    async with ChaosServer(refuse=lambda body: refusal) as server, asking(server) as policy:
        with pytest.raises(AuthenticationFailed, match="quota") as caught:
            await policy.respond(ASK)
        assert caught.value.fatal
        assert len(server.chats) == 1


@pytest.mark.parametrize("moment", ["answering", "backing off", "queueing"])
async def test_cancelling_is_immediate_and_leaves_nothing_behind(moment: str) -> None:
    slow = moment != "backing off"
    plan = [Fault.SLOW if slow else Fault.BROKEN] * 2
    async with (
        ChaosServer(plan, delay=2) as server,
        asking(server, backoff=20, max_concurrency=1) as policy,
    ):
        tasks = [asyncio.create_task(policy.respond(ASK)) for _ in range(2)]
        await server.asked.wait()
        await asyncio.sleep(0.05)
        victim = tasks[1] if moment == "queueing" else tasks[0]
        started = time.monotonic()
        victim.cancel()
        with pytest.raises(asyncio.CancelledError):
            await victim
        assert time.monotonic() - started < 1
        survivor = tasks[0] if moment == "queueing" else tasks[1]
        if slow:
            assert (await survivor).attempts == 1
        survivor.cancel()
        await asyncio.gather(survivor, return_exceptions=True)
        assert policy._client.limiter().in_flight == 0


async def test_concurrency_is_bounded_and_connections_are_reused() -> None:
    async with (
        ChaosServer([Fault.SLOW] * 60, delay=0.01) as server,
        asking(server, max_concurrency=5) as policy,
        asking(server, max_concurrency=7) as other,
    ):
        await asyncio.gather(*(p.respond(ASK) for p in (policy, other) for _ in range(30)))
        assert server.most_in_flight == 5
        assert server.connections <= 10


async def test_overload_lowers_the_limit() -> None:
    async with (
        ChaosServer([Fault.OVERLOADED] * 8) as server,
        asking(server, max_concurrency=8) as policy,
    ):
        await asyncio.gather(*(policy.respond(ASK) for _ in range(8)))
        assert policy._client.limiter().limit < 8


async def test_a_storm_loses_nobody() -> None:
    faults = tuple(fault for fault in Fault if fault not in (Fault.REFUSED_KEY, Fault.NO_MODEL))
    plan = storm(1, 3000, faulty=0.5, of=faults)
    requests = [ASK, CHOOSE, Request(messages=ASK.messages, seed=5, max_sentences=2)]
    async with (
        ChaosServer(plan, delay=0.02) as server,
        asking(server, timeout=2, max_retries=4, max_concurrency=48) as policy,
    ):
        ended = await asyncio.wait_for(
            asyncio.gather(
                *(policy.respond(requests[n % 3]) for n in range(300)), return_exceptions=True
            ),
            20,
        )
        answered = [reply for reply in ended if not isinstance(reply, BaseException)]
        failed = [error for error in ended if isinstance(error, BaseException)]
        assert all(isinstance(error, PolicyError) for error in failed), failed
        assert len(answered) > 200
        assert failed, "the plan holds requests that cannot be saved"
        assert server.most_in_flight <= 48
        assert sum(reply.attempts for reply in answered) <= len(server.chats)
        for n, reply in enumerate(ended):
            if n % 3 == 1 and not isinstance(reply, BaseException):
                assert reply.text in STRATEGIES
        assert policy._client.limiter().in_flight == 0
