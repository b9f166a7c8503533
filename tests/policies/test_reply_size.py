"""Replies have a size limit: read whole, read as a stream, and whatever policy gives them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

import warmline
from warmline.core.errors import ConfigError, ReplyTooLong
from warmline.environments import StopReason
from warmline.policies.base import Reply, Request
from warmline.policies.openai.policy import OpenAIPolicy

from ..environments.helpers import scenario, talk
from .chaos_server import ChaosServer
from .openai.asking import ASK, asking, saying

LONG = "and so it goes on " * 400
"""7,200 characters that are one sentence, so that no cap ends the stream."""


async def test_a_stream_is_hung_up_on_at_the_limit() -> None:
    async with (
        ChaosServer(answer=saying(LONG), pace=0.0005) as server,
        asking(server, max_reply_chars=500) as policy,
    ):
        with pytest.raises(ReplyTooLong, match=r"longer than the 500 characters allowed \(50\d"):
            await policy.respond(replace(ASK, max_sentences=3))
        assert len(server.chats) == 1, "not asked again"
        assert server.chunks_sent < 1500


async def test_a_whole_reply_over_the_limit_is_refused() -> None:
    async with (
        ChaosServer(answer=saying(LONG)) as server,
        asking(server, max_reply_chars=500) as policy,
    ):
        with pytest.raises(ReplyTooLong, match=r"500 characters allowed \(7,2") as caught:
            await policy.respond(ASK)
        assert (caught.value.most, caught.value.retryable) == (500, False)
        assert len(server.chats) == 1


async def test_a_body_too_large_for_any_allowed_reply_is_not_read() -> None:
    async with (
        ChaosServer(answer=saying("word " * 400_000)) as server,
        asking(server, max_reply_chars=500) as policy,
    ):
        with pytest.raises(ReplyTooLong, match="500 characters allowed") as caught:
            await policy.respond(ASK)
    assert caught.value.chars is None, "refused before it was decoded"


async def test_a_reply_within_the_limit_is_taken() -> None:
    async with (
        ChaosServer(answer=saying("x" * 499)) as server,
        asking(server, max_reply_chars=500) as policy,
    ):
        assert (await policy.respond(ASK)).text == "x" * 499
        assert (await policy.respond(replace(ASK, max_sentences=3))).text == "x" * 499


def test_the_limit_is_at_least_one() -> None:
    with pytest.raises(ConfigError, match="max_reply_chars must be at least 1, not 0"):
        OpenAIPolicy("tiny", max_reply_chars=0)


class Says:
    """Gives one text to whatever is asked."""

    def __init__(self, text: str) -> None:
        self.text = text

    async def respond(self, request: Request) -> Reply:
        return Reply(self.text)


async def test_the_environment_refuses_what_any_policy_overdoes() -> None:
    environment = warmline.SupportEnvironment(
        seeker=Says("word " * 300), supporter=talk(), max_turns=2, max_reply_chars=1000
    )
    episode = await environment.run(scenario(), seed=1)
    assert episode.stop is StopReason.ERROR
    assert "longer than the 1,000 characters allowed (1,500" in str(episode.error)
    assert "word word" not in episode.model_dump_json()


async def test_the_size_limit_is_no_part_of_a_runs_identity() -> None:
    seats = {"seeker": talk(), "supporter": talk()}
    first = warmline.SupportEnvironment(**seats)
    second = warmline.SupportEnvironment(**seats, max_reply_chars=5000)
    assert first.config_hash == second.config_hash


@pytest.mark.parametrize("unit", [". ", "a\n", "I cry. "])
async def test_reading_a_huge_reply_lets_the_other_episodes_go_on(unit: str) -> None:
    text = "I cry " + unit * (400_000 // len(unit))
    environment = warmline.SupportEnvironment(
        seeker=Says(text), supporter=talk(), max_turns=1, max_reply_chars=500_000
    )
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0.001)
            turns += 1

    beside = asyncio.create_task(others())
    episode = await environment.run(scenario(), seed=1)
    beside.cancel()
    assert episode.stop is StopReason.TURN_LIMIT
    assert turns >= 5, "reading held up the event loop"
